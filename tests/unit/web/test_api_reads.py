"""The API's reads: shapes, JSON spellings, lists that go on, sums."""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from flask_metronome.errors import DatabaseUnreachable

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


def test_a_schedule_has_its_definition_its_words_and_its_etag(site: Any) -> None:
    site.schedule("report", description="daily", revision=3)

    found = site.get("/schedules/report")

    assert found.status_code == 200
    assert found.headers["ETag"] == '"3"'
    assert found.headers["Cache-Control"] == "no-store"
    assert found.json["cadence_words"] == "every 5 minutes"
    assert found.json["description"] == "daily"
    assert INSTANT.fullmatch(found.json["next_due_at"])


def test_a_schedule_edited_into_nonsense_is_still_shown(site: Any) -> None:
    site.schedule("odd", cadence={"kind": "moon"}, state="broken", error="no such kind")

    found = site.get("/schedules/odd").json

    assert found["cadence_words"].startswith("not understood: kind: expected one of")
    assert site.get("/schedules").json["items"][0]["error"] == "no such kind"
    assert site.get("/schedules/odd/upcoming").status_code == 422


def test_schedules_are_listed_by_key_and_filtered(site: Any) -> None:
    site.schedule("b", task="shop.mail", lane="mail")
    site.schedule("a", description="100% sure_thing")
    site.schedule("c", state="paused")

    def keys(query: str) -> list[str]:
        return [item["key"] for item in site.get(f"/schedules{query}").json["items"]]

    assert keys("") == ["a", "b", "c"]
    assert keys("?task=shop.mail") == ["b"]
    assert keys("?lane=mail") == ["b"]
    assert keys("?enabled=false") == ["c"]
    assert keys("?enabled=true") == ["a", "b"]
    assert keys("?state=paused,active") == ["a", "b", "c"]
    assert keys("?state=paused&state=broken") == ["c"]
    assert keys("?q=SURE_THING") == ["a"]
    assert keys("?q=%25") == ["a"]


def test_lists_go_on_where_the_cursor_says(site: Any) -> None:
    for key in "abcde":
        site.schedule(key)

    first = site.get("/schedules?limit=2").json
    second = site.get(f"/schedules?limit=2&cursor={first['next_cursor']}").json
    third = site.get(f"/schedules?limit=2&cursor={second['next_cursor']}").json

    parts = (first, second, third)
    keys = [item["key"] for part in parts for item in part["items"]]
    assert keys == list("abcde")
    assert third["next_cursor"] is None


def test_a_cursor_of_another_list_is_refused(site: Any) -> None:
    for number in range(3):
        site.schedule(f"s{number}")
    cursor = site.get("/schedules?limit=1").json["next_cursor"]

    found = site.get(f"/schedules?lane=mail&cursor={cursor}")

    assert found.status_code == 422
    assert found.json["errors"][0]["field"] == "cursor"


def test_a_run_has_its_attempts(site: Any) -> None:
    site.schedule("report")
    run_id = site.run("report", attempts=2, retries=1, runtime_seconds=1.5)
    site.attempt(run_id, 0, state="retried", error_type="OSError", error="gone")
    site.attempt(run_id, 1)

    found = site.get(f"/runs/{run_id}").json

    assert found["id"] == run_id
    assert found["runtime_seconds"] == 1.5
    assert found["attempt_count"] == 2
    assert [a["state"] for a in found["attempts"]] == ["retried", "succeeded"]
    attempts = site.get(f"/runs/{run_id}/attempts").json["items"]
    assert attempts == found["attempts"]
    assert found["children"] == []


def test_what_is_not_there_is_404(site: Any) -> None:
    site.schedule("report")
    for path in (
        "/schedules/nothing",
        "/schedules/nothing/runs",
        "/schedules/nothing/upcoming",
        "/schedules/nothing/stats",
        "/runs/nothing",
        "/runs/nothing/attempts",
        "/nothing/at/all",
    ):
        found = site.get(path)
        assert (path, found.status_code) == (path, 404)
        assert found.content_type == "application/problem+json"
        assert found.json["instance"] == f"/metronome/api/v1{path}"


def test_runs_are_found_by_schedule_both_ways(site: Any) -> None:
    site.schedule("report")
    site.schedule("other")
    run_id = site.run("report", state="failed")
    site.run("other")

    for path in ("/runs?schedule=report", "/schedules/report/runs"):
        assert [run["id"] for run in site.get(path).json["items"]] == [run_id]
    assert site.get("/runs?state=failed,lost&flag=late").json["items"] == []


def test_instants_in_queries_may_have_any_offset(site: Any) -> None:
    site.schedule("report")
    run_id = site.run("report", ago=0)

    for edge in ("2026-06-01T11:59:59Z", "2026-06-01T13:59:59%2B02:00"):
        found = site.get(f"/runs?due_after={edge}").json["items"]
        assert [run["id"] for run in found] == [run_id]
    assert site.get("/runs?due_before=2026-06-01T13:59:59+02:00").json["items"] == []


def test_upcoming_shows_no_due_time_that_makes_no_run(site: Any) -> None:
    site.schedule("paused", state="paused", next_due_at=None)
    site.schedule("thrice", max_runs=3, runs_made=1)

    assert site.get("/schedules/paused/upcoming").json["items"] == []
    assert site.page("/schedules/thrice").text.count("2026-06-01 12:05:00") > 0
    coming = site.get("/schedules/thrice/upcoming?limit=5").json["items"]
    assert [item["due_at"][11:16] for item in coming] == ["12:05", "12:10"]


def test_upcoming_and_preview_say_what_the_clocks_do(site: Any) -> None:
    cadence = {"kind": "cron", "expression": "30 2 * * *", "tz": "Europe/Berlin"}
    site.schedule("night", cadence=cadence)
    after = "2027-03-27T12:00:00Z"

    upcoming = site.get(f"/schedules/night/upcoming?limit=1&after={after}").json
    body = {"cadence": cadence, "after": after, "count": 1}
    preview = site.post("/schedules/preview", body).json

    assert upcoming == preview
    assert preview["tz"] == "Europe/Berlin"
    (item,) = preview["items"]
    assert item["due_at"] == "2027-03-28T01:00:00.000000Z"
    assert item["local"] == "2027-03-28T03:00:00+02:00"
    assert "02:30" in item["note"]


def test_preview_writes_nothing_and_needs_no_task(site: Any) -> None:
    found = site.post(
        "/schedules/preview", {"cadence": {"kind": "every", "every": 1}, "count": 3}
    )

    assert found.status_code == 200
    assert len(found.json["items"]) == 3
    assert site.get("/schedules").json["items"] == []


def test_stats_are_of_the_window(site: Any) -> None:
    site.schedule("report")
    site.run("report", ago=60)
    site.run("report", ago=7200, state="failed")

    assert site.get("/stats?window=1h").json["runs"] == 1
    day = site.get("/schedules/report/stats").json
    assert day["states"] == {"failed": 1, "succeeded": 1}
    assert day["success_rate"] == 0.5
    assert day["until"] == "2026-06-01T12:00:00.000000Z"


def test_who_is_at_work(site: Any) -> None:
    site.schedule("report")
    site.schedule("ghost", task="shop.gone")
    site.beat()
    site.worker(active=["x"], heartbeat_at=NOW - timedelta(hours=1))

    assert site.get("/beats").json["items"][0]["alive"] is True
    assert site.get("/workers").json["items"][0]["alive"] is False
    assert site.get("/lanes").json["items"][0]["name"] == "default"
    tasks = {task["name"]: task for task in site.get("/tasks").json["items"]}
    assert tasks["shop.report"]["registered"] is True
    assert tasks["shop.gone"]["registered"] is False
    assert tasks["shop.gone"]["schedules"] == 1


def test_health_says_what_is_missing(site: Any) -> None:
    assert site.page("/healthz").json == {"status": "ok"}

    found = site.page("/readyz")

    assert found.status_code == 503
    checks = found.json["checks"]
    assert checks["database"] == "ok"
    assert checks["beats"].startswith("No beat")
    assert checks["broker"] != "ok"


def test_without_tables_one_sentence_says_what_to_run(
    make_site: Any, tmp_path: Path
) -> None:
    site = make_site(database_url=f"sqlite:///{tmp_path / 'new.sqlite'}")

    found = site.get("/schedules")

    assert found.status_code == 503
    assert found.content_type == "application/problem+json"
    assert "init-db" in found.json["detail"]
    assert "init-db" in site.page().text


def test_without_a_database_one_sentence_says_so(
    make_site: Any, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    site = make_site(database_url=f"sqlite:///{tmp_path / 'file' / 'x.sqlite'}")

    found = site.get("/schedules")

    assert found.status_code == 503
    assert "does not answer" in found.json["detail"]
    assert found.headers["Retry-After"]


def test_the_apis_own_address_is_answered_as_a_problem(site: Any) -> None:
    for method in ("get", "post"):
        found = getattr(site, method)("/")
        assert found.status_code == 404
        assert found.content_type == "application/problem+json"


def test_ready_names_a_database_that_stands_still(
    site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    thawed = asyncio.Event()

    async def stands_still(_: Any) -> None:
        # as a driver whose server is paused: giving it up takes as long
        while not thawed.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await thawed.wait()
        raise DatabaseUnreachable("sqlite://", "gone")

    # the package has a blueprint of the same name
    health = sys.modules["flask_metronome.api.health"]
    monkeypatch.setattr(health, "database_now", stands_still)
    monkeypatch.setattr(health, "_READY_SECONDS", 0.05)
    checks = site.page("/readyz").json["checks"]
    assert checks["database"] == "The database did not answer within 0.05 seconds."
    assert checks["beats"] == "not known without the database"
    assert checks["broker"] != "ok"

    async def thaw() -> None:
        thawed.set()

    site.state.loop.run(thaw())
    monkeypatch.undo()
    assert site.page("/readyz").json["checks"]["database"] == "ok"
