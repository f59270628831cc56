"""The next due times of a schedule, with a word where clocks change."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

from flask_metronome.core.cadence import Cron, RRule
from flask_metronome.core.instants import RESOLUTION
from flask_metronome.core.timing import Timing
from flask_metronome.core.wall_clock import Stretch, wall_clock
from flask_metronome.core.words import clock_words, listed

_FEW = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class PreviewInstant:
    """One due time.

    :param at: the due time, UTC.
    :param local: the same in the cadence's own zone (UTC where it has none).
    :param note: a word on a clock change that touches it, or None.
    """

    at: datetime
    local: datetime
    note: str | None


def preview(timing: Timing, after: datetime, count: int) -> list[PreviewInstant]:
    """The next ``count`` due times strictly after ``after``; fewer if it ends."""
    found = islice(_due_times(timing, after), count)
    return [_instant(timing, due) for due in found]


def zone_of(timing: Timing) -> str:
    """The name of the zone that a cadence's wall clock is read in."""
    return str(getattr(timing.cadence, "tz", None) or "UTC")


def _due_times(timing: Timing, after: datetime) -> Iterator[datetime]:
    due = timing.next_after(after)
    while due is not None:
        yield due
        due = timing.next_after(due)


def _instant(timing: Timing, due: datetime) -> PreviewInstant:
    cadence = timing.cadence
    if not isinstance(cadence, Cron | RRule):
        return PreviewInstant(at=due, local=due, note=None)
    local = due.astimezone(wall_clock(cadence.tz).zone)
    try:
        note = _note(cadence, due)
    except OverflowError:
        note = None
    return PreviewInstant(at=due, local=local, note=note)


def _note(cadence: Cron | RRule, due: datetime) -> str | None:
    utc = due.replace(tzinfo=None)
    stretch = cadence.clock.stretch_at(utc)
    local = utc + stretch.offset
    if local < stretch.reached:
        return "clock goes back this night: this is the second pass"
    following = cadence.clock.stretch_at(stretch.ends)
    if following.local_starts <= local < following.reached:
        if _follows_wall(cadence):
            return "clock goes back this night: this is the first pass"
        return "clock goes back this night: runs once, in the first pass"
    if stretch.reached < stretch.local_starts:
        return _gap_note(cadence, due, stretch)
    return None


def _gap_note(cadence: Cron | RRule, due: datetime, stretch: Stretch) -> str | None:
    """What became of the times that the gap before this stretch swallowed."""
    gap = cadence.wall_times(stretch.reached, stretch.local_starts)
    lost = list(islice(gap, _FEW + 1))
    if not lost:
        return None
    utc = due.replace(tzinfo=None)
    if not _follows_wall(cadence):
        return _moved(lost, stretch) if utc == stretch.starts else None
    before = cadence.previous_at_or_before(due - RESOLUTION)
    if before is not None and before.replace(tzinfo=None) >= stretch.starts:
        return None
    whole_days = _spans_days(stretch)
    left, right = (
        _said(stretch.reached, whole_days),
        _said(stretch.local_starts, whole_days),
    )
    return f"clock goes forward from {left} to {right} before this"


def _moved(lost: list[datetime], stretch: Stretch) -> str:
    whole_days = _spans_days(stretch)
    names = [_said(local, whole_days) for local in lost[:_FEW]]
    if len(lost) > _FEW:
        names.append("others")
    verb = "does" if len(names) == 1 else "do"
    runs = _said(stretch.local_starts, whole_days)
    return f"{listed(names)} {verb} not exist on this day; runs at {runs}"


def _spans_days(stretch: Stretch) -> bool:
    return stretch.local_starts - stretch.reached >= timedelta(days=1)


def _said(local: datetime, with_date: bool) -> str:
    date = f"{local.date().isoformat()} " if with_date else ""
    return f"{date}{clock_words(local)}"


def _follows_wall(cadence: Cron | RRule) -> bool:
    return isinstance(cadence, Cron) and cadence.calendar.follows_wall
