"""The limits that runs are judged by: their defaults, and an end that comes first."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from flask_metronome.core.cadence import every
from flask_metronome.core.ending import Ending
from flask_metronome.core.run import AttemptState
from flask_metronome.core.schedule import Definition, Limits
from flask_metronome.store.ends import finish


@pytest.mark.parametrize(
    ("interval", "grace", "late"),
    [
        (1, 30, 15),
        (60, 30, 15),
        (62, 31, 15),
        (150, 75, 15),
        (160, 80, 16),
        (3_600, 1_800, 360),
        (3_602, 1_800, 360.2),
        (6_000, 1_800, 600),
        (6_010, 1_800, 600),
        (None, 1_800, 600),
    ],
)
def test_grace_and_lateness_follow_the_interval(
    interval: float | None, grace: float, late: float
) -> None:
    definition = Definition(key="a", task="t", cadence=every(60))
    limits = Limits.of(definition, interval)
    assert limits.grace_seconds == grace
    assert limits.late_after_seconds == pytest.approx(late)


def test_what_a_dead_beat_held_is_published_within_the_least_grace(world: Any) -> None:
    definition = Definition(key="a", task="t", cadence=every(1))
    grace = Limits.of(definition, 1).grace_seconds
    assert world.settings.publish_lease_seconds <= grace / 2


@pytest.mark.parametrize(
    ("longest", "seconds", "overrun"),
    [(60.0, 60.0, False), (60.0, 60.002, True), (None, 9000.0, False)],
)
def test_an_end_says_itself_that_it_was_too_long(
    world: Any, longest: float | None, seconds: float, overrun: bool
) -> None:
    schedule = world.schedule()
    run = world.run(
        schedule, "started", started_at=world.now, max_runtime_seconds=longest, fence=1
    )
    world.attempt(run)
    ended_at = world.now + timedelta(seconds=seconds)
    ending = Ending(run_id=run, retries=0, fence=1, state=AttemptState.SUCCEEDED)
    with world.database.begin() as connection:
        assert finish(connection, ending, now=ended_at)
    assert world.row(run).overrun is overrun
    # a monitor that comes later takes nothing of it back
    monitor = world.settled()
    world.wait(monitor, 60)
    assert world.row(run).overrun is overrun
    assert world.folded("runs_flagged", label="overrun") == overrun
