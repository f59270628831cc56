"""Periods in which nobody was watching: kept, judged again later, never told of."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from flask_metronome.core.ending import Ending
from flask_metronome.core.run import AttemptState
from flask_metronome.models import incidents, messages, unknown_periods
from flask_metronome.store.ends import finish
from flask_metronome.store.ticks import tick


def periods(world: Any) -> list[tuple[Any, Any, str]]:
    columns = (
        unknown_periods.c.from_at,
        unknown_periods.c.to_at,
        unknown_periods.c.cause,
    )
    with world.database.read() as connection:
        found = connection.execute(select(*columns).order_by(unknown_periods.c.id))
        return [tuple(row) for row in found]


def opened(world: Any) -> list[Any]:
    with world.database.read() as connection:
        return list(connection.execute(select(incidents)))


def beat_turns(world: Any) -> None:
    with world.database.begin() as connection:
        tick(connection, now=world.now, batch=100, owner="beat", lease_seconds=30)


def every_minute(world: Any, **values: Any) -> str:
    due = world.now + timedelta(seconds=60)
    miss = due + timedelta(seconds=30)
    return str(world.schedule(next_due_at=due, miss_after_at=miss, **values))


@pytest.mark.parametrize(("seconds", "kept"), [(30, 0), (30.001, 1)])
def test_half_a_minute_without_a_sweep_is_unknown(
    world: Any, seconds: float, kept: int
) -> None:
    monitor = world.settled()
    since = world.now
    world.clock.tick(seconds)
    world.sweep(monitor)
    world.sweep(monitor)
    assert periods(world) == [(since, world.now, "no_monitor")] * kept


def test_before_the_first_monitor_nothing_is_unknown(world: Any) -> None:
    world.schedule()
    world.clock.tick(9000)
    world.settled()
    assert periods(world) == []


def test_a_monitor_that_another_follows_leaves_no_gap(world: Any) -> None:
    first = world.settled()
    second = world.monitor()
    world.clock.tick(20)
    assert second.sweep().elected
    assert not first.sweep().elected
    assert periods(world) == []


class _Away:
    """A database that does not answer for a while."""

    def __init__(self, database: Any) -> None:
        self.database = database
        self.away = False

    def __getattr__(self, name: str) -> Any:
        if self.away and name in ("begin", "read"):
            error = OperationalError("select", {}, OSError("no route"))
            error.connection_invalidated = True
            raise error
        return getattr(self.database, name)


def test_a_monitor_that_saw_the_database_go_says_so(world: Any) -> None:
    real = world.database
    world.database = _Away(real)
    monitor = world.settled()
    since = world.now
    world.database.away = True
    assert not monitor._swept(0)
    world.clock.tick(100)
    world.database.away = False
    assert monitor._swept(1)
    assert periods(world) == [(since, world.now, "no_database")]
    since = world.now
    world.clock.tick(100)
    assert monitor._swept(0)
    assert periods(world)[1] == (since, world.now, "no_monitor")
    assert world.folded("unknown", "", "no_database") == 1
    assert world.folded("unknown_ms", "", "no_monitor") == 100_000
    world.clock.tick(91 * 86_400)
    world.wait(monitor, 1)
    assert world.folded("unknown", "", "no_monitor") == 2
    assert [cause for *_, cause in periods(world)] == ["no_monitor"]


def test_all_went_well_while_nobody_looked(world: Any) -> None:
    """Beats and workers were there, and what went wrong is good again: no alarm."""
    world.settings = replace(world.settings, webhook_urls=("http://127.0.0.1:9/",))
    monitor = world.settled()
    schedule = world.schedule()
    worker = world.worker()
    for minute in range(60):
        world.clock.tick(60)
        bad = minute < 50
        world.run(
            schedule,
            "failed" if bad else "succeeded",
            published_at=world.now,
            started_at=world.now,
            finished_at=world.now + timedelta(seconds=1),
        )
    world.clock.tick(10)
    world.heartbeat(worker)
    world.wait(monitor, 90)
    assert opened(world) == []
    assert len(periods(world)) == 1
    with world.database.read() as connection:
        assert connection.execute(select(messages)).all() == []


@pytest.mark.parametrize(("last", "expected"), [("failed", 1), ("succeeded", 0)])
def test_a_long_backlog_is_judged_as_it_happened(
    world: Any, last: str, expected: int
) -> None:
    """Many batches, written in any order: what counts is how it ended."""
    monitor = world.settled(batch=3)
    schedule = world.schedule()
    ends = ["failed", "succeeded"] * 8 + [last]
    moments = [world.now + timedelta(hours=2 * n) for n in range(len(ends))]
    for moment, state in sorted(
        zip(moments, ends, strict=True), key=lambda pair: (pair[1], pair[0])
    ):
        world.run(schedule, state, due_at=moment, finished_at=moment)
    world.clock.set(moments[-1])
    world.sweep(monitor)
    assert len([row for row in opened(world) if row.closed_at is None]) == expected


def test_nobody_is_told_halfway_through_a_backlog(world: Any) -> None:
    world.settings = replace(world.settings, webhook_urls=("http://127.0.0.1:9/",))
    monitor = world.settled(batch=2)
    schedule = world.schedule()
    # forty rows a sweep: the failure is the last of the first sweep's
    for number in range(41):
        world.clock.tick(1)
        state = "failed" if number == 39 else "succeeded"
        world.run(schedule, state, finished_at=world.now)
    assert world.sweep(monitor)["judged"] == 40
    assert len(opened(world)) == 1
    world.sweep(monitor)
    with world.database.read() as connection:
        assert connection.execute(select(messages)).all() == []


def test_what_beats_missed_meanwhile_is_found_at_the_return(world: Any) -> None:
    """No true alarm is missing: no beat was there, and none comes back."""
    monitor = world.settled()
    every_minute(world)
    world.clock.tick(3600)
    assert world.sweep(monitor)["overdue"] == 0
    assert opened(world) == []
    world.wait(monitor, 11)
    (row,) = world.rows()
    assert (row.missed_count, row.reason) == (59, "scheduler_down")
    assert row.due_at == row.missed_from
    assert [row.kind for row in opened(world)] == ["missed"]


def test_a_beat_that_returns_first_decides_what_was_missed(world: Any) -> None:
    """The database was away: its due times passed, which is true, and told once."""
    monitor = world.settled()
    every_minute(world)
    world.clock.tick(3600)
    world.sweep(monitor)
    beat_turns(world)
    world.wait(monitor, 60)
    missed = [row for row in world.rows() if row.state == "missed"]
    assert [(row.missed_count, row.provisional) for row in missed] == [(58, False)]
    # and one run for the newest of them
    assert [row.state for row in world.rows() if row.catchup] == ["planned"]
    assert len(opened(world)) == 1


def test_an_end_that_lies_in_a_spool_is_waited_for(world: Any) -> None:
    """It ran while the database was away: neither overrun nor stuck nor lost."""
    monitor = world.settled()
    schedule = world.schedule()
    worker = world.worker()
    run = world.run(
        schedule, "started", started_at=world.now, fence=1, max_runtime_seconds=20.0
    )
    world.attempt(run, worker_id=worker)
    world.heartbeat(worker, [run])
    ended_at = world.now + timedelta(seconds=10)
    world.clock.tick(80)
    found = world.wait(monitor, 15)
    assert (found["overrun"], found["stuck"], found["lost"]) == (0, 0, 0)
    with world.database.begin() as connection:
        ending = Ending(run_id=run, retries=0, fence=1, state=AttemptState.SUCCEEDED)
        assert finish(connection, ending, now=ended_at)
    world.heartbeat(worker)
    world.wait(monitor, 90)
    row = world.row(run)
    assert (row.state, row.overrun, row.stuck) == ("succeeded", False, False)


def test_without_that_end_it_is_stuck_all_the_same(world: Any) -> None:
    monitor = world.settled()
    schedule = world.schedule()
    worker = world.worker()
    run = world.run(
        schedule, "started", started_at=world.now, fence=1, max_runtime_seconds=20.0
    )
    world.attempt(run, worker_id=worker)
    world.clock.tick(80)
    for _ in range(5):
        world.heartbeat(worker, [run])
        world.wait(monitor, 15)
    row = world.row(run)
    assert (row.state, row.overrun, row.stuck) == ("started", True, True)
