"""What metrics say of a schedule's cadence, its limits and its last start."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flask_metronome.core.after import after
from flask_metronome.core.cron import cron
from flask_metronome.store import rhythm
from flask_metronome.store.numbers import isolate, read_snapshot
from metronome_monitoring.snapshot import ScheduleNumbers

HOUR = 3600.0


def _numbers(world: Any, **options: Any) -> tuple[ScheduleNumbers, ...]:
    with world.database.read() as connection:
        return read_snapshot(
            isolate(connection), now=world.now, version="1", lease_seconds=30, **options
        ).schedules


def _rhythm(numbers: ScheduleNumbers) -> tuple[float | None, ...]:
    return (
        numbers.interval_seconds,
        numbers.late_after_seconds,
        numbers.no_success_after_seconds,
    )


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, (60, 15, 2 * 60 + 30)),
        ({"max_runtime_seconds": 40.0}, (60, 15, 2 * (60 + 40) + 30)),
        ({"grace_seconds": 7.0, "late_after_seconds": 1.5}, (60, 1.5, 127)),
        # Friday's gap is a weekend
        (
            {
                "cadence": cron("0 9 * * mon-fri", tz="UTC").to_dict(),
                "next_due_at": datetime(2026, 1, 2, 9, tzinfo=UTC),
            },
            (72 * HOUR, 600, 2 * 72 * HOUR + 1800),
        ),
        # what a run asked for by hand is held to
        ({"state": "paused", "next_due_at": None}, (None, 15, None)),
        (
            {"cadence": after("other").to_dict(), "next_due_at": None},
            (None, 600, None),
        ),
        ({"cadence": {"kind": "nonsense"}}, (None, None, None)),
        ({"cadence": "nonsense"}, (None, None, None)),
    ],
)
def test_limits_follow_the_gap_after_the_next_due_time(
    world: Any, values: dict[str, Any], expected: tuple[float | None, ...]
) -> None:
    world.schedule(**{"next_due_at": world.now + timedelta(seconds=60), **values})
    (found,) = _numbers(world)
    assert _rhythm(found) == expected


def test_a_scrape_reads_only_cadences_that_were_due_since_the_last(world: Any) -> None:
    due = world.now + timedelta(seconds=60)
    schedules = [world.schedule(f"s{n}", next_due_at=due) for n in range(5)]
    _numbers(world)
    before = rhythm._gap.cache_info().misses
    _numbers(world)
    assert rhythm._gap.cache_info().misses == before
    world.change_schedule(schedules[0], next_due_at=due + timedelta(seconds=60))
    _numbers(world)
    assert rhythm._gap.cache_info().misses == before + 1


def test_what_shares_one_name_has_no_rhythm_of_its_own(world: Any) -> None:
    for number in range(3):
        moment = world.now + timedelta(seconds=number)
        world.schedule(f"s{number}", created_at=moment, next_due_at=moment)
    first, rest = _numbers(world, most_schedules=1)
    assert (first.is_one, first.interval_seconds) == (True, 60)
    assert (rest.is_one, _rhythm(rest)) == (False, (None, None, None))


def test_the_last_start_is_of_open_runs_too_and_outlives_them(world: Any) -> None:
    schedule = world.schedule()
    assert _numbers(world)[0].last_start_at is None
    began = world.ago(100 * 86_400)
    ended = {"started_at": began, "finished_at": began + timedelta(seconds=9)}
    run = world.run(schedule, "failed", due_at=began, **ended)
    open_one = world.run(schedule, "started", due_at=world.ago(5), started_at=world.now)
    assert _numbers(world)[0].last_start_at == world.now.timestamp()
    world.change_run(open_one, started_at=None, state="published")
    assert _numbers(world)[0].last_start_at == began.timestamp()
    world.sweep(world.monitor())
    assert world.row(run) is None
    assert _numbers(world)[0].last_start_at == began.timestamp()
