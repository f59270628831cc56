"""The API's writes: what they answer, who is written down, what guards them."""

from __future__ import annotations

from typing import Any

EVERY = {"kind": "every", "every": 5, "unit": "minutes"}
BODY = {"key": "report", "task": "shop.report", "cadence": EVERY}


def test_a_schedule_is_added_and_audited(site: Any) -> None:
    found = site.post("/schedules", BODY)

    assert found.status_code == 201
    assert found.headers["ETag"] == '"1"'
    assert found.headers["Location"] == "/metronome/api/v1/schedules/report"
    assert found.json["owner"] == "api"
    assert site.get("/schedules/report").json == found.json
    line = site.get("/audit?subject=report").json["items"][0]
    assert (line["subject"], line["who"]) == ("report", "api 127.0.0.1")


def test_adding_it_twice_is_a_conflict(site: Any) -> None:
    site.post("/schedules", BODY)

    found = site.post("/schedules", BODY)

    assert found.status_code == 409
    assert "exists already" in found.json["detail"]


def test_put_sets_back_and_patch_keeps_what_is_not_given(site: Any) -> None:
    site.post("/schedules", {**BODY, "description": "daily", "catchup": "all"})
    api = "/metronome/api/v1/schedules/report"

    patched = site.client.patch(api, json={"overlap": "allow"}).json
    put = site.client.put(api, json={"task": "shop.report", "cadence": EVERY}).json

    assert (patched["description"], patched["overlap"]) == ("daily", "allow")
    assert (put["description"], put["overlap"], put["catchup"]) == (
        None,
        "skip",
        "latest",
    )
    assert put["revision"] > patched["revision"] > 1


def test_an_edit_of_an_older_revision_is_refused(site: Any) -> None:
    site.post("/schedules", BODY)
    api = "/metronome/api/v1/schedules/report"
    fresh = {"If-Match": '"1"'}
    done = site.client.patch(api, json={"description": "a"}, headers=fresh)

    stale = [
        site.client.patch(api, json={"description": "b"}, headers=fresh),
        site.client.put(api, json=BODY, headers=fresh),
        site.client.delete(api, headers=fresh),
    ]

    assert done.status_code == 200
    assert [answer.status_code for answer in stale] == [412, 412, 412]
    assert site.get("/schedules/report").json["description"] == "a"
    now = {"If-Match": done.headers["ETag"]}
    assert site.client.delete(api, headers=now).status_code == 204
    assert site.get("/schedules/report").status_code == 404


def test_pause_and_resume_say_who_and_why(site: Any) -> None:
    site.post("/schedules", BODY)

    paused = site.post("/schedules/report/pause", {"reason": "ticket 7"}).json
    resumed = site.post("/schedules/report/resume").json

    assert paused["state"] == "paused"
    assert (paused["paused_reason"], paused["paused_by"]) == (
        "ticket 7",
        "api 127.0.0.1",
    )
    assert (resumed["state"], resumed["paused_reason"]) == ("active", None)


def test_trigger_answers_the_run_and_once_for_each_key(site: Any) -> None:
    site.post("/schedules", BODY)
    key = {"Idempotency-Key": "k-1"}

    first = site.post("/schedules/report/trigger", {"kwargs": {"a": 1}}, headers=key)
    again = site.post("/schedules/report/trigger", {"kwargs": {"a": 1}}, headers=key)
    other = site.post("/schedules/report/trigger")

    assert first.status_code == again.status_code == other.status_code == 202
    assert first.json["id"] == again.json["id"] != other.json["id"]
    assert first.json["origin"] == "manual:k-1"
    assert first.json["kwargs"] == {"a": 1}
    assert site.client.get(first.headers["Location"]).json["id"] == first.json["id"]
    assert len(site.get("/runs").json["items"]) == 2


def test_cancel_and_rerun(site: Any) -> None:
    site.post("/schedules", BODY)
    run_id = site.post("/schedules/report/trigger").json["id"]

    cancelled = site.post(f"/runs/{run_id}/cancel")
    again = site.post(f"/runs/{run_id}/cancel")
    rerun = site.post(f"/runs/{run_id}/rerun", headers={"Idempotency-Key": "x"})
    same = site.post(f"/runs/{run_id}/rerun", headers={"Idempotency-Key": "x"})

    assert (cancelled.status_code, cancelled.json["state"]) == (200, "cancelled")
    assert again.status_code == 409
    assert rerun.status_code == 202
    assert rerun.json["id"] == same.json["id"] != run_id


def test_backfill_answers_how_many(site: Any) -> None:
    site.post("/schedules", BODY)
    span = {"after": "2026-06-01T10:00:00Z", "until": "2026-06-01T11:00:00Z"}

    found = site.post("/schedules/report/backfill", {**span, "name": "june"})

    assert (found.status_code, found.json) == (202, {"name": "june", "runs": 12})
    assert len(site.get("/runs?origin=backfill").json["items"]) == 12


def test_what_is_not_there_cannot_be_changed(site: Any) -> None:
    for path in (
        "/schedules/no/pause",
        "/schedules/no/resume",
        "/schedules/no/trigger",
        "/runs/no/rerun",
        "/runs/no/cancel",
    ):
        assert (path, site.post(path).status_code) == (path, 404)
    assert site.client.delete("/metronome/api/v1/schedules/no").status_code == 404
