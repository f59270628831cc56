"""The next due times, for people: wall-clock time and what the clocks do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

from flask_metronome.core.timing import Timing

_TINY = timedelta(microseconds=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Upcoming:
    """One due time to come.

    :param due_at: the instant, UTC.
    :param local: what the clock of the cadence's zone shows then.
    :param note: what is odd about it where clocks change, or ``None``.
    """

    due_at: datetime
    local: datetime
    note: str | None


def upcoming(timing: Timing, after: datetime, count: int) -> tuple[Upcoming, ...]:
    """The first ``count`` due times after an instant, fewer if it ends before."""
    zone = ZoneInfo(zone_of(timing))
    found: list[Upcoming] = []
    before = after
    for due_at in islice(_walk(timing, after), count):
        local = due_at.astimezone(zone)
        note = _note(zone, before, due_at)
        found.append(Upcoming(due_at=due_at, local=local, note=note))
        before = due_at
    return tuple(found)


def zone_of(timing: Timing) -> str:
    """The zone whose clock the cadence means; UTC when it means none."""
    return str(getattr(timing.cadence, "tz", "UTC"))


def _walk(timing: Timing, after: datetime) -> Iterator[datetime]:
    moment: datetime | None = timing.next_after(after)
    while moment is not None:
        yield moment
        moment = timing.next_after(moment)


def _note(zone: ZoneInfo, before: datetime, due_at: datetime) -> str | None:
    local = due_at.astimezone(zone)
    moved = _offset(zone, due_at) - _offset(zone, due_at - _TINY)
    if moved > timedelta():
        return f"the clock jumps forward by {_length(moved)} at this very instant"
    if local.replace(fold=0).utcoffset() != local.replace(fold=1).utcoffset():
        which = "second" if local.fold else "first"
        return f"the clock shows this time twice; this is the {which} pass"
    moved = _offset(zone, due_at) - _offset(zone, before)
    if moved:
        direction = "forward" if moved > timedelta() else "back"
        return f"the clock went {direction} by {_length(abs(moved))} before this"
    return None


def _offset(zone: ZoneInfo, moment: datetime) -> timedelta:
    return moment.astimezone(UTC).astimezone(zone).utcoffset() or timedelta()


def _length(span: timedelta) -> str:
    hours, minutes = divmod(int(span.total_seconds()) // 60, 60)
    parts = [f"{hours} h"] if hours else []
    if minutes:
        parts.append(f"{minutes} min")
    return " ".join(parts) or f"{span.total_seconds():g} s"
