"""Timing: a cadence between two moments, with a jitter that all beats agree on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from flask_metronome.core.cadence import cron, every, once
from flask_metronome.core.timing import Timing
from flask_metronome.errors import CadenceInvalid, ScheduleInvalid

NOON = datetime(2026, 3, 8, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
# blake2b('3f2c|2026-03-08T12:00:00.000000Z', 8 bytes, big-endian) / 2**64 of 600 s
WRITTEN_DOWN = timedelta(microseconds=61548411)


def test_both_ends_are_inside() -> None:
    timing = Timing(cadence=cron("@hourly"), start_at=NOON, end_at=NOON + 2 * HOUR)
    due = [NOON, NOON + HOUR, NOON + 2 * HOUR]
    before, after = NOON - 24 * HOUR, NOON + 24 * HOUR
    assert list(timing.between(before, after)) == due
    assert timing.count_between(before, after) == 3
    assert timing.count_between(before, after, 2) == 2
    assert timing.latest_in(before, after) == due[-1]
    assert timing.next_after(before) == NOON
    assert timing.next_after(due[-1]) is None
    assert timing.previous_at_or_before(after) == due[-1]
    assert timing.previous_at_or_before(NOON - timedelta(seconds=1)) is None


def test_without_ends_it_is_the_cadence() -> None:
    cadence = cron("*/7 3 * * *", "Europe/Berlin")
    timing = Timing(cadence=cadence)
    assert timing.next_after(NOON) == cadence.next_after(NOON)
    assert timing.previous_at_or_before(NOON) == cadence.previous_at_or_before(NOON)


def test_the_grid_of_every_begins_at_the_start() -> None:
    start = NOON + timedelta(seconds=3)
    timing = Timing(cadence=every(10), start_at=start)
    assert timing.next_after(NOON) == start
    assert timing.next_after(start) == start + timedelta(seconds=10)
    own = Timing(cadence=every(10, anchor=NOON), start_at=start)
    assert own.next_after(NOON) == NOON + timedelta(seconds=10)


def test_a_window_that_holds_nothing() -> None:
    timing = Timing(cadence=once(NOON), start_at=NOON + HOUR)
    assert timing.next_after(NOON - HOUR) is None
    assert timing.count_between(NOON - HOUR, NOON + 2 * HOUR) == 0
    assert timing.latest_in(NOON - HOUR, NOON + 2 * HOUR) is None


def test_jitter_is_what_it_was_forever() -> None:
    """Written down: a change of the hash would move every firing of every schedule."""
    timing = Timing(cadence=cron("@hourly"), jitter_seconds=600)
    assert timing.jitter_of("3f2c", NOON) == WRITTEN_DOWN
    assert timing.fires_at("3f2c", NOON) == NOON + WRITTEN_DOWN


def test_jitter_spreads_and_stays_below_its_bound() -> None:
    timing = Timing(cadence=cron("@hourly"), jitter_seconds=600)
    found = [timing.jitter_of(f"schedule-{n}", NOON) for n in range(400)]
    assert all(timedelta() <= jitter < timedelta(seconds=600) for jitter in found)
    average = sum(found, timedelta()) / len(found)
    assert timedelta(seconds=270) < average < timedelta(seconds=330)
    hours = {timing.jitter_of("one", NOON + n * HOUR) for n in range(24)}
    assert len(hours) == 24


def test_jitter_never_passes_the_next_due_time() -> None:
    timing = Timing(cadence=every(10), jitter_seconds=3600)
    due = list(timing.between(NOON, NOON + HOUR))
    fired = [timing.fires_at("x", moment) for moment in due]
    assert fired == sorted(fired)
    assert all(f < d + timedelta(seconds=10) for f, d in zip(fired, due, strict=True))


def test_the_last_firing_has_the_whole_jitter() -> None:
    found = [
        Timing(cadence=once(NOON), jitter_seconds=60).jitter_of(str(n), NOON)
        for n in range(50)
    ]
    assert max(found) > timedelta(seconds=40)


def test_no_jitter_is_none() -> None:
    assert Timing(cadence=every(10)).fires_at("x", NOON) == NOON


@pytest.mark.parametrize("jitter", [-1.0, float("nan"), float("inf")])
def test_a_wrong_jitter_is_refused(jitter: float) -> None:
    with pytest.raises(ScheduleInvalid, match="jitter_seconds"):
        Timing(cadence=every(10), jitter_seconds=jitter)


def test_a_wrong_window_is_refused() -> None:
    with pytest.raises(ScheduleInvalid, match="end_at"):
        Timing(cadence=every(10), start_at=NOON, end_at=NOON - HOUR)
    with pytest.raises(CadenceInvalid, match="start_at"):
        Timing(cadence=every(10), start_at=NOON.replace(tzinfo=None))
