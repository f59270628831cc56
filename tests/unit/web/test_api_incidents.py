"""Incidents and mutes by the API, on the pages and on the command line."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flask_metronome.cli import metronome_cli
from flask_metronome.models import audit, incidents

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


def incident(site: Any, key: str | None = "daily", ago: float = 60, **more: Any) -> str:
    found = str(uuid.uuid4())
    opened_at = NOW - timedelta(seconds=ago)
    values: dict[str, Any] = {
        "id": found,
        "open_key": f"{found}:runs",
        "schedule_id": site.ids.get(key),
        "schedule_key": key,
        "lane": "default",
        "kind": "failed",
        "state": "open",
        "opened_at": opened_at,
        "bad_since": opened_at,
        "bad_count": 1,
        "happened": "failed: ValueError: <no paper>",
    }
    site.write(incidents, **(values | more))
    return found


def test_incidents_are_listed_newest_first_and_paged(site: Any) -> None:
    found = [incident(site, ago=ago) for ago in (10, 20, 30)]
    part = incident(site, ago=5, part_of=found[0])
    first = site.get("/incidents?limit=2").json
    assert [item["id"] for item in first["items"]] == found[:2]
    rest = site.get(f"/incidents?limit=2&cursor={first['next_cursor']}").json
    assert [item["id"] for item in rest["items"]] == found[2:]
    assert rest["next_cursor"] is None
    whole = site.get("/incidents?parts=true").json["items"]
    assert [item["id"] for item in whole] == [part, *found]
    without = site.get("/incidents?parts=false").json["items"]
    assert [item["id"] for item in without] == found


def test_a_note_is_in_any_script_and_may_have_lines(site: Any) -> None:
    one = incident(site)
    note = "再起動\u3000中\nHTTP\u00a0503: the warehouse is told"
    answer = site.post(f"/incidents/{one}/acknowledge", {"note": note})
    assert answer.json["incident"]["note"] == note

    for wrong in ("\0", "\x1b[31m", "\x85", "\ud800"):
        answer = site.post(f"/incidents/{one}/close", {"note": f"a{wrong}"})
        assert answer.status_code == 422, repr(wrong)
        assert answer.json["errors"][0]["field"] == "note"


def test_incidents_are_filtered(site: Any) -> None:
    one = incident(site)
    other = incident(site, key="other", state="closed", open_key=None)
    by_state = site.get("/incidents?state=closed").json["items"]
    assert [item["id"] for item in by_state] == [other]
    by_schedule = site.get("/incidents?schedule=daily").json["items"]
    assert [item["id"] for item in by_schedule] == [one]
    wrong = site.get("/incidents?state=solved")
    assert (wrong.status_code, wrong.json["errors"][0]["field"]) == (422, "state")


def test_one_is_acknowledged_with_a_note_and_closed(site: Any) -> None:
    found = incident(site)
    answer = site.post(f"/incidents/{found}/acknowledge", {"note": "I look"})
    one = answer.json["incident"]
    assert (answer.status_code, one["state"], one["note"]) == (
        200,
        "acknowledged",
        "I look",
    )
    assert one["acknowledged_by"].startswith("api ")
    closed = site.post(f"/incidents/{found}/close").json["incident"]
    assert (closed["state"], closed["note"]) == ("closed", "I look")
    assert site.post(f"/incidents/{found}/acknowledge").status_code == 409
    assert site.post(f"/incidents/{uuid.uuid4()}/close").status_code == 404
    wrong = site.post(f"/incidents/{found}/close", {"notes": "x"})
    assert (wrong.status_code, wrong.json["errors"][0]["field"]) == (422, "notes")
    with site.state.database.read() as connection:
        actions = [row.action for row in connection.execute(audit.select())]
    assert actions == ["incident.acknowledge", "incident.close"]


def test_closing_one_of_many_closes_its_parts(site: Any) -> None:
    whole = incident(site, key=None, kind="system", cause="scheduler_down")
    incident(site, part_of=whole)
    found = site.post(f"/incidents/{whole}/close").json
    assert [part["state"] for part in found["parts"]] == ["closed"]


def test_mutes_come_and_go(site: Any) -> None:
    until = (NOW + timedelta(hours=1)).isoformat()
    made = site.post("/mutes", {"scope": "lane:default", "until_at": until})
    assert made.status_code == 201
    assert made.json["from_at"].startswith("2026-06-01T12:00:00")
    assert [m["id"] for m in site.get("/mutes").json["items"]] == [made.json["id"]]
    path = f"/metronome/api/v1/mutes/{made.json['id']}"
    assert site.client.delete(path).status_code == 204
    assert site.client.delete(path).status_code == 404
    assert site.get("/mutes").json["items"] == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "scope"),
        ({"scope": "everything"}, "scope"),
        ({"scope": "lane:"}, "scope"),
        ({"scope": "lane:mial"}, "scope"),
        ({"scope": "schedule:dayly"}, "scope"),
        ({"scope": "*", "until_at": "2026-06-01T11:00:00Z"}, "until"),
        ({"scope": "*", "from_at": "soon"}, "from_at"),
    ],
)
def test_a_wrong_mute_names_its_field(
    site: Any, body: dict[str, Any], field: str
) -> None:
    answer = site.post("/mutes", body)
    assert answer.status_code == 422
    assert answer.json["errors"][0]["field"] == field
    assert site.get("/mutes").json["items"] == []


def test_pages_show_what_is_open_and_escape_it(site: Any) -> None:
    site.schedule("daily")
    assert "Open incidents" not in site.page("/").text
    found = incident(site, note="<b>mine</b>", last_run=str(uuid.uuid4()))
    whole = incident(site, key=None, kind="system", cause="lane:mail")
    incident(site, part_of=whole)
    for path in ("/", "/incidents", f"/incidents/{found}", f"/incidents/{whole}"):
        page = site.page(path)
        assert page.status_code == 200, path
        assert "<no paper>" not in page.text
        assert "<b>mine" not in page.text
    assert "daily failed" in site.page("/").text
    assert "No worker does the work of the lane mail" in site.page("/incidents").text
    assert site.page(f"/incidents/{uuid.uuid4()}").status_code == 404


def test_what_the_name_says_already_is_not_said_again(site: Any) -> None:
    words = "no beat plans what is due"
    group = {"key": None, "kind": "system", "cause": "scheduler_down"}
    whole = incident(site, **group, happened=words, bad_count=12)
    listed = site.page("/incidents").text
    assert "No beat plans what is due" in listed
    assert words not in listed
    assert "12 schedules" in listed
    assert words not in site.page(f"/incidents/{whole}").text


def test_an_incident_of_a_schedule_that_failed_is_on_its_page(site: Any) -> None:
    incident(site, state="closed", open_key=None, closed_at=NOW, close_reason="good")
    listed = site.page("/incidents?state=closed").text
    assert "daily failed" in listed
    assert "No incident fits." in site.page("/incidents?state=open").text


def test_the_command_line_lists_acknowledges_and_mutes(site: Any) -> None:
    found = incident(site)
    runner = site.app.test_cli_runner()

    def run(*words: str) -> Any:
        return runner.invoke(metronome_cli, ["incidents", *words])

    assert json.loads(run("list", "--json").output)["items"][0]["id"] == found
    assert "daily" in run("list").output
    assert run("ack", found, "--note", "mine").exit_code == 0
    shown = json.loads(run("show", found, "--json").output)["incident"]
    assert (shown["state"], shown["note"]) == ("acknowledged", "mine")
    muted = json.loads(run("mute", "*", "--for", "1h", "--json").output)
    assert muted["until_at"] == "2026-06-01T13:00:00Z"
    assert json.loads(run("mutes", "--json").output)[0]["id"] == muted["id"]
    assert run("unmute", muted["id"]).exit_code == 0
    assert run("mute", "nonsense").exit_code == 2
    assert run("close", found).exit_code == 0
    assert run("close", found).exit_code == 1


def test_the_command_line_tries_every_channel(make_site: Any) -> None:
    site = make_site(webhook_urls="http://127.0.0.1:9/secret")
    runner = site.app.test_cli_runner()
    answer = runner.invoke(metronome_cli, ["notify", "test"])
    assert answer.exit_code == 1
    assert "webhook to 127.0.0.1:9: failed" in answer.output
    assert "secret" not in answer.output
    nothing = (
        make_site().app.test_cli_runner().invoke(metronome_cli, ["notify", "test"])
    )
    assert nothing.exit_code == 1
    assert "METRONOME_SMTP_URL" in nothing.output


def test_a_schedule_that_follows_another_by_api_and_page(site: Any) -> None:
    body = {
        "key": "report",
        "task": "shop.report",
        "cadence": {"kind": "after", "schedule": "import"},
        "bad_in_a_row": 3,
    }
    made = site.post("/schedules", body).json
    assert (made["state"], made["cadence_words"]) == (
        "active",
        "after import succeeded",
    )
    assert (made["bad_in_a_row"], made["good_to_close"]) == (3, 1)
    assert "follows another schedule" in site.page("/schedules/report").text
    wrong = site.post("/schedules", body | {"key": "x", "bad_in_a_row": 0})
    assert (wrong.status_code, wrong.json["errors"][0]["field"]) == (
        422,
        "bad_in_a_row",
    )


@pytest.mark.parametrize(
    ("said", "state"), [("import", "succeeded"), ("import, timed_out", "timed_out")]
)
def test_a_schedule_that_follows_another_by_command_line(
    site: Any, said: str, state: str
) -> None:
    words = ["schedules", "add", "report", "--task", "shop.report", "--follows", said]
    runner = site.app.test_cli_runner()
    added = runner.invoke(metronome_cli, [*words, "--bad-in-a-row", "2"])
    assert added.exit_code == 0, added.output
    found = site.get("/schedules/report").json
    assert found["cadence"] == {"kind": "after", "schedule": "import", "state": state}
    assert (found["bad_in_a_row"], found["state"]) == (2, "active")
