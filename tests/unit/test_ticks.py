"""The tick on a real SQLite file, with a clock that only the test moves."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from flask_metronome.core.cadence import every
from flask_metronome.core.schedule import Definition
from flask_metronome.database import Database
from flask_metronome.models import metadata, runs, schedules
from flask_metronome.store import outbox, ticks
from flask_metronome.store import schedules as schedule_store
from flask_metronome.store.ticks import TickReport, tick
from flask_metronome.testing import SettableClock

ME, OTHER = "beat-1", "beat-2"


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock()


@pytest.fixture
def database(tmp_path: Path, clock: SettableClock) -> Iterator[Database]:
    made = Database(f"sqlite:///{tmp_path / 'm.sqlite'}", clock=clock)
    with made.begin() as connection:
        metadata.create_all(connection)
    yield made
    made.dispose()


def add(database: Database, key: str = "k", **fields: Any) -> str:
    fields.setdefault("cadence", every(10, "seconds"))
    with database.begin() as connection:
        return schedule_store.add(
            connection,
            Definition(key=key, task="t", **fields),
            owner="api",
            who="test",
            now=database.now(connection),
        ).id


def turn(database: Database, *, owner: str = ME, batch: int = 100) -> TickReport:
    with database.begin() as connection:
        return tick(
            connection,
            now=database.now(connection),
            batch=batch,
            owner=owner,
            lease_seconds=30,
        )


def rows(database: Database) -> list[Any]:
    with database.read() as connection:
        return list(connection.execute(select(runs).order_by(runs.c.due_at, runs.c.id)))


def states(database: Database) -> list[tuple[str, str | None]]:
    return [(row.state, row.reason) for row in rows(database)]


def test_a_new_schedule_is_first_due_on_its_grid_and_not_at_once(
    database: Database, clock: SettableClock
) -> None:
    clock.tick(3)
    add(database)
    assert turn(database).planned == 0
    clock.tick(7)
    report = turn(database)
    assert [row.schedule_key for row in report.outbox] == ["k"]
    assert states(database) == [("planned", None)]


def test_the_second_beat_finds_nothing_left_to_do(
    database: Database, clock: SettableClock
) -> None:
    add(database)
    clock.tick(10)
    assert turn(database).planned == 1
    assert turn(database, owner=OTHER).planned == 0
    assert len(rows(database)) == 1


def test_what_a_beat_planned_is_claimed_for_it_and_falls_free_with_time(
    database: Database, clock: SettableClock
) -> None:
    add(database)
    clock.tick(10)
    made = turn(database).outbox[0].id

    def claimed() -> list[str]:
        with database.begin() as connection:
            found = outbox.claim(
                connection,
                now=database.now(connection),
                owner=OTHER,
                lease_seconds=30,
                limit=10,
            )
        return [row.id for row in found]

    assert claimed() == []
    clock.tick(31)
    assert claimed() == [made]
    assert claimed() == []


def test_a_run_that_was_recorded_before_is_not_made_again(
    database: Database, clock: SettableClock
) -> None:
    schedule_id = add(database, overlap="allow")
    clock.tick(10)
    turn(database)
    with database.begin() as connection:
        # a restored backup: the schedule stands before what it has done
        connection.execute(
            update(schedules)
            .where(schedules.c.id == schedule_id)
            .values(next_due_at=clock.moment, last_due_at=None)
        )
    turn(database)
    assert len(rows(database)) == 1


def test_a_row_that_cannot_be_planned_is_set_aside_and_stops_nobody(
    database: Database, clock: SettableClock
) -> None:
    bad = add(database, "bad")
    add(database, "good")
    with database.begin() as connection:
        connection.execute(
            update(schedules)
            .where(schedules.c.id == bad)
            .values(cadence={"kind": "cron", "expression": "61 * * * *"})
        )
    clock.tick(10)
    report = turn(database)
    assert (report.planned, report.broken) == (1, 1)
    with database.read() as connection:
        row = connection.execute(
            select(schedules.c.state, schedules.c.error).where(schedules.c.id == bad)
        ).one()
    assert row.state == "broken"
    assert "61" in row.error


def test_a_row_written_by_hand_is_taken_up_and_fires_nothing_of_the_past(
    database: Database, clock: SettableClock
) -> None:
    with database.begin() as connection:
        connection.execute(
            insert(schedules).values(
                id="by-hand",
                key="by-hand",
                task="t",
                cadence=every(10, "seconds").to_dict(),
                lane="default",
                created_at=clock.moment,
                updated_at=clock.moment,
            )
        )
    clock.tick(25)
    report = turn(database)
    assert report.planned == 0
    assert report.next_due_at == clock.moment + timedelta(seconds=5)
    clock.tick(5)
    assert turn(database).planned == 1


def test_the_batch_is_bounded_and_says_that_there_is_more(
    database: Database, clock: SettableClock
) -> None:
    for number in range(5):
        add(database, f"k{number}")
    clock.tick(10)
    assert [turn(database, batch=2).full for _ in range(3)] == [True, True, False]
    assert len(rows(database)) == 5


def test_planning_that_takes_long_is_cut_into_ticks(
    database: Database, clock: SettableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database ends a transaction that says nothing, each time anew."""
    monkeypatch.setattr(ticks, "LONGEST_PLANNING", -1)
    for number in range(3):
        add(database, f"k{number}")
    clock.tick(10)
    reports = [turn(database) for _ in range(3)]
    assert [(report.planned, report.full) for report in reports] == [
        (1, True),
        (1, True),
        (1, False),
    ]


def test_provisional_rows_of_the_monitor_give_way_to_the_plan(
    database: Database, clock: SettableClock
) -> None:
    schedule_id = add(database, cadence=every(10, "minutes"), catchup="latest")
    due = clock.moment + timedelta(minutes=10)
    clock.tick(3600)
    with database.begin() as connection:
        base = {
            "id": "provisional",
            "schedule_id": schedule_id,
            "schedule_key": "k",
            "origin": "auto",
            "due_at": due,
            "fires_at": due,
            "state": "missed",
            "task": "t",
            "lane": "default",
            "args": [],
            "kwargs": {},
            "options": {},
            "revision": 1,
            "grace_until": due,
            "late_after_seconds": 1,
            "concurrency_key": "k",
            "missed": True,
            "provisional": True,
            "updated_at": due,
        }
        connection.execute(insert(runs).values(base))
    turn(database)
    assert states(database) == [
        ("missed", "policy"),
        ("planned", "scheduler_down"),
        ("skipped", "overlap"),
    ]


def test_queue_one_lets_the_newest_go_when_its_predecessor_ends(
    database: Database, clock: SettableClock
) -> None:
    add(database, overlap="queue_one")
    for _ in range(3):
        clock.tick(10)
        turn(database)
    assert [state for state, _ in states(database)] == ["planned", "skipped", "waiting"]
    with database.begin() as connection:
        connection.execute(
            update(runs).where(runs.c.state == "planned").values(state="succeeded")
        )
    turn(database)
    assert [state for state, _ in states(database)] == [
        "succeeded",
        "skipped",
        "planned",
    ]


def test_cancel_previous_cancels_and_raises_the_fence(
    database: Database, clock: SettableClock
) -> None:
    add(database, overlap="cancel_previous")
    clock.tick(10)
    turn(database)
    clock.tick(10)
    turn(database)
    first, second = rows(database)
    assert (first.state, first.fence, second.state) == ("cancelled", 1, "planned")


def test_what_all_catches_up_waits_in_the_claim_too_and_is_not_skipped(
    database: Database, clock: SettableClock
) -> None:
    add(database, catchup="all", catchup_limit=2)
    clock.tick(75)
    turn(database)
    assert [
        (row.state, row.options["overlap"]) for row in rows(database) if row.catchup
    ] == [("planned", "queue_all"), ("waiting", "queue_all")]
    on_time = [row for row in rows(database) if not row.missed]
    assert {row.options["overlap"] for row in on_time} == {"skip"}


def test_jitter_puts_off_the_publishing_and_not_the_due_time(
    database: Database, clock: SettableClock
) -> None:
    add(database, cadence=every(1, "hours"), jitter_seconds=600)
    clock.tick(3600)
    due = clock.moment
    report = turn(database)
    row = rows(database)[0]
    assert row.due_at == due
    assert due < row.fires_at < due + timedelta(minutes=10)
    assert row.publish_after == row.fires_at
    assert report.outbox == []


def next_due(database: Database, key: str) -> datetime | None:
    with database.read() as connection:
        return connection.execute(
            select(schedules.c.next_due_at).where(schedules.c.key == key)
        ).scalar()


def test_the_report_names_the_earliest_due_time_that_is_left(
    database: Database, clock: SettableClock
) -> None:
    add(database, "later", cadence=every(1, "hours"))
    add(database, "sooner", cadence=every(10, "seconds"))
    assert turn(database).next_due_at == next_due(database, "sooner")
