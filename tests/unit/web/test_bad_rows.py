"""What somebody wrote into a schedule's row by hand never stops the others.

Such a row is set aside with its error, is shown wherever schedules are, and can be
mended and removed by the same means as any other.
"""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import text

from flask_metronome.beat import Ticker
from flask_metronome.models import schedules

NONSENSE = [
    ("cadence", '{"kind": "cron", "expression": "61 * * * *"}', "expression"),
    ("cadence", "null", "cadence"),
    ("cadence", "[]", "cadence"),
    ("cadence", "every day", "cadence"),
    ("args", "{}", "args"),
    ("kwargs", "[1]", "kwargs"),
    ("kwargs", "{", "kwargs"),
    ("options", '{"colour": "red"}', "options"),
    ("start_at", "2026-13-45", "start_at"),
    ("last_due_at", "yesterday", "last_due_at"),
    ("overlap", "sometimes", "overlap"),
    ("grace_seconds", "-1", "grace_seconds"),
    ("jitter_seconds", "a little", "jitter_seconds"),
]


def ticker(site: Any) -> Ticker:
    return Ticker(site.state.database, site.state.settings, "beat")


def by_hand(site: Any, key: str, column: str, value: str) -> None:
    statement = text(f"UPDATE metronome_schedules SET {column} = :v WHERE key = :k")
    with site.state.database.begin() as connection:
        connection.execute(statement, {"v": value, "k": key})


def state_and_error(site: Any, key: str) -> tuple[str, str]:
    wanted = schedules.select().where(schedules.c.key == key)
    with site.state.database.read() as connection:
        row = connection.execute(wanted).one()
    return row.state, row.error


@pytest.mark.parametrize(("column", "value", "field"), NONSENSE)
def test_it_is_set_aside_shown_mended_and_removed(
    site: Any, column: str, value: str, field: str
) -> None:
    site.schedule("good")
    site.schedule("bad")
    site.schedule("worse")
    for key in ("bad", "worse"):
        by_hand(site, key, column, value)
    site.clock.tick(300)
    report, _ = ticker(site).tick()
    assert (report.planned, report.broken) == (1, 2)
    state, error = state_and_error(site, "bad")
    assert state == "broken"
    assert error.startswith(f"{field}: expected ")
    assert site.page().status_code == site.page("/schedules/bad").status_code == 200
    listed = {one["key"]: one for one in site.get("/schedules").json["items"]}
    assert listed["bad"]["error"] == error
    assert site.get("/schedules/bad").status_code == 200

    path = "/metronome/api/v1/schedules"
    mended = {"task": "shop.report", "cadence": {"kind": "every", "every": 60}}
    answer = site.client.put(f"{path}/bad", json=mended)
    assert answer.json.get("state") == "active", answer.json
    site.clock.tick(60)
    assert ticker(site).tick()[0].broken == 0
    assert site.client.delete(f"{path}/worse").status_code == 204
    assert site.get("/schedules/worse").status_code == 404


def refuse_runs_of(site: Any, key: str) -> None:
    """Stands for whatever a database may have against one row."""
    with site.state.database.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TRIGGER refuse BEFORE INSERT ON metronome_runs "
            f"WHEN NEW.schedule_key = '{key}' "
            "BEGIN SELECT RAISE(ABORT, 'not this one'); END"
        )


def test_what_the_database_refuses_is_found_among_the_others(site: Any) -> None:
    for key in ("a", "b", "refused", "c", "d"):
        site.schedule(key, overlap="allow")
    refuse_runs_of(site, "refused")
    site.clock.tick(300)
    beat, planned = ticker(site), 0
    for _ in range(3):
        report: Any = beat.tick()[0]
        planned += len(report.outbox)
    assert planned == 4
    assert state_and_error(site, "refused")[0] == "broken"
    assert "not this one" in state_and_error(site, "refused")[1]
    site.clock.tick(300)
    assert len(beat.tick()[0].outbox) == 4


def test_a_span_of_more_due_times_than_a_column_holds(site: Any) -> None:
    cadence = {"kind": "every", "every": 1, "unit": "microseconds"}
    site.schedule("ants", cadence=cadence, catchup="none", grace_seconds=0.0001)
    site.clock.tick(3600)
    assert ticker(site).tick()[0].broken == 0
    (row,) = site.get("/runs?schedule=ants&state=missed").json["items"]
    assert row["missed_count"] == 2**31 - 1
