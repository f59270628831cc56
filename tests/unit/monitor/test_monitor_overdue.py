"""Due times that no beat planned, and what becomes of the provisional row."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from flask_metronome.core.cadence import cron, every
from flask_metronome.models import schedules
from flask_metronome.store.ticks import tick


def _due(world: Any, seconds: float = 60, **values: Any) -> str:
    """A schedule every minute, grace 30 s, next due in so many seconds."""
    due = world.now + timedelta(seconds=seconds)
    return str(
        world.schedule(
            next_due_at=due, miss_after_at=due + timedelta(seconds=30), **values
        )
    )


def _tick(world: Any) -> None:
    """One turn of a beat."""
    with world.database.begin() as connection:
        tick(connection, now=world.now, batch=100, owner="beat", lease_seconds=30)


def test_nothing_is_missed_until_the_grace_is_over(world: Any) -> None:
    monitor = world.settled()
    _due(world)
    assert world.wait(monitor, 90)["overdue"] == 0
    assert world.rows() == []
    world.clock.tick(0.001)
    assert world.sweep(monitor)["overdue"] == 1


def test_one_row_for_the_whole_span(world: Any) -> None:
    monitor = world.settled()
    first = world.now + timedelta(seconds=60)
    schedule = _due(world)
    world.wait(monitor, 91)
    (row,) = world.rows()
    assert (row.state, row.missed, row.reason) == ("missed", True, "scheduler_down")
    assert row.provisional
    assert (row.due_at, row.missed_from, row.missed_to) == (first, first, first)
    assert row.missed_count == 1

    world.wait(monitor, 300)
    (longer,) = world.rows()
    assert longer.id == row.id
    assert longer.missed_count == 6
    assert longer.missed_to == first + timedelta(seconds=300)
    # it never moves the schedule: that is for the beats
    with world.database.read() as connection:
        found = connection.execute(
            select(schedules).where(schedules.c.id == schedule)
        ).one()
    assert found.next_due_at == first
    assert found.last_due_at is None


def test_a_beat_that_returns_decides_anew(world: Any) -> None:
    monitor = world.settled()
    _due(world)
    world.wait(monitor, 400)
    assert [row.provisional for row in world.rows()] == [True]
    _tick(world)
    rows = world.rows()
    assert not any(row.provisional for row in rows)
    assert {row.state for row in rows} == {"missed", "planned"}
    assert world.wait(monitor, 20)["overdue"] == 0


@pytest.mark.parametrize("state", ["paused", "retired", "finished", "broken"])
def test_only_active_schedules_are_overdue(world: Any, state: str) -> None:
    monitor = world.settled()
    _due(world, state=state)
    assert world.wait(monitor, 120)["overdue"] == 0


def test_a_pause_keeps_what_was_missed_before(world: Any) -> None:
    monitor = world.settled()
    schedule = _due(world)
    world.wait(monitor, 95)
    world.change_schedule(schedule, state="paused", next_due_at=None)
    world.sweep(monitor)
    (row,) = world.rows()
    assert not row.provisional
    assert row.counted
    assert world.folded("runs_missed", label="scheduler_down") == 1


def test_an_edit_keeps_what_was_missed_before(world: Any) -> None:
    monitor = world.settled()
    schedule = _due(world)
    world.wait(monitor, 95)
    later = world.now + timedelta(hours=1)
    world.change_schedule(
        schedule, next_due_at=later, miss_after_at=later + timedelta(seconds=30)
    )
    world.sweep(monitor)
    (row,) = world.rows()
    assert not row.provisional


def test_a_schedule_that_cannot_be_read_hides_no_other(world: Any) -> None:
    monitor = world.settled()
    _due(world, key="bad", cadence={"kind": "nonsense"})
    _due(world, key="good")
    assert world.wait(monitor, 91)["overdue"] == 1
    assert [row.schedule_key for row in world.rows()] == ["good"]


def test_pages_cover_all_schedules(world: Any) -> None:
    monitor = world.settled(batch=3)
    for number in range(10):
        _due(world, key=f"s{number}")
    assert world.wait(monitor, 91)["overdue"] == 10
    assert len(world.rows()) == 10


def test_after_an_absence_a_beat_decides_first(world: Any) -> None:
    monitor = world.settled()
    _due(world)
    # everything was away: the whole machine slept
    world.clock.tick(3600)
    assert world.sweep(monitor)["overdue"] == 0
    _tick(world)
    assert world.wait(monitor, 15)["overdue"] == 0
    assert not any(row.provisional for row in world.rows())


def test_after_an_absence_dead_beats_are_noticed_all_the_same(world: Any) -> None:
    monitor = world.settled()
    _due(world)
    world.clock.tick(3600)
    assert world.wait(monitor, 30)["overdue"] >= 1
    assert world.rows()[0].missed_count == 59


@pytest.mark.parametrize(
    ("cadence", "seconds", "expected"),
    [
        (every(1), 3600, 3600),
        (cron("* * * * *"), 7200, 120),
        (cron("0 9 * * *"), 40 * 86_400, 40),
    ],
)
def test_what_is_counted_is_what_the_cadence_says(
    world: Any, cadence: Any, seconds: int, expected: int
) -> None:
    due = cadence.next_after(world.now)
    world.schedule(
        cadence=cadence.to_dict(),
        next_due_at=due,
        miss_after_at=due + timedelta(seconds=30),
    )
    monitor = world.settled()
    world.clock.set(due + timedelta(seconds=seconds))
    world.wait(monitor, 30)
    (row,) = world.rows()
    # every(1) has a grace of 30 s: the newest half minute may still come
    assert expected - 30 <= row.missed_count <= expected + 30
    assert row.missed_count == sum(
        1 for _ in cadence.between(due - timedelta(microseconds=1), row.missed_to)
    )
