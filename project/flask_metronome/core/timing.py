"""When a schedule is due: a cadence, its first and last moment, and its jitter."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import blake2b

from flask_metronome.core.cadence import Cadence, Every
from flask_metronome.core.instants import RESOLUTION, Instants, as_utc
from flask_metronome.errors import ScheduleInvalid

_FIRST = datetime.min.replace(tzinfo=UTC) + RESOLUTION


@dataclass(frozen=True, kw_only=True, slots=True)
class Timing(Instants):
    """A cadence between two moments.

    A due time keeps its nominal instant; jitter only moves when it fires.

    :param cadence: the instants.
    :param start_at: the first moment, inclusive; also the anchor of an ``every`` that
        has none of its own.
    :param end_at: the last moment, inclusive.
    :param jitter_seconds: the most by which a firing is put off, seconds.
    :raises ScheduleInvalid: jitter is negative, or the end is before the start.
    :raises CadenceInvalid: a moment has no time zone.
    """

    cadence: Cadence
    start_at: datetime | None = None
    end_at: datetime | None = None
    jitter_seconds: float = 0.0

    def __post_init__(self) -> None:
        for name in ("start_at", "end_at"):
            moment = getattr(self, name)
            if moment is not None:
                object.__setattr__(self, name, as_utc(moment, name))
        jitter = self.jitter_seconds
        if not (math.isfinite(jitter) and jitter >= 0):
            raise ScheduleInvalid("jitter_seconds", "zero or more seconds", jitter)
        if self.start_at and self.end_at and self.end_at < self.start_at:
            raise ScheduleInvalid("end_at", f"{self.start_at} or later", self.end_at)

    def next_after(self, moment: datetime) -> datetime | None:
        """The first due time strictly after ``moment``; None: never again."""
        due = self._anchored().next_after(self._not_before_start(moment))
        return None if due is None or self._is_past_end(due) else due

    def previous_at_or_before(self, moment: datetime) -> datetime | None:
        """The last due time at or before ``moment``; None: there was none."""
        due = self._anchored().previous_at_or_before(self._not_after_end(moment))
        return None if due is None or self._is_before_start(due) else due

    def between(self, after: datetime, until: datetime) -> Iterator[datetime]:
        """Every due time with ``after < t <= until``, oldest first, lazily."""
        return self._anchored().between(
            self._not_before_start(after), self._not_after_end(until)
        )

    def count_between(
        self, after: datetime, until: datetime, limit: int | None = None
    ) -> int:
        """How many due times have ``after < t <= until``, at most ``limit``."""
        return self._anchored().count_between(
            self._not_before_start(after), self._not_after_end(until), limit
        )

    def interval_seconds(self, due_at: datetime) -> float | None:
        """To the next due time, also where ``end_at`` comes before it; None: none."""
        due = as_utc(due_at, "due_at")
        following = self._anchored().next_after(due)
        return None if following is None else (following - due).total_seconds()

    def jitter_of(self, schedule_id: str, due_at: datetime) -> timedelta:
        """By how much this firing is put off: the same on every beat.

        At least zero, less than ``jitter_seconds`` and than the gap to the next due
        time, so that firings keep their order.
        """
        if not self.jitter_seconds:
            return timedelta()
        due = as_utc(due_at, "due_at")
        most = timedelta(seconds=self.jitter_seconds)
        following = self._anchored().next_after(due)
        if following is not None:
            most = min(most, following - due)
        whole = most // RESOLUTION
        return RESOLUTION * (whole * _share(schedule_id, due) >> 64)

    def fires_at(self, schedule_id: str, due_at: datetime) -> datetime:
        """The due time put off by its jitter."""
        return as_utc(due_at, "due_at") + self.jitter_of(schedule_id, due_at)

    def _anchored(self) -> Cadence:
        if isinstance(self.cadence, Every):
            return self.cadence.anchored_at(self.start_at)
        return self.cadence

    def _not_before_start(self, moment: datetime) -> datetime:
        if self.start_at is None:
            return moment
        return max(as_utc(moment, "moment"), _just_before(self.start_at))

    def _not_after_end(self, moment: datetime) -> datetime:
        if self.end_at is None:
            return moment
        return min(as_utc(moment, "moment"), self.end_at)

    def _is_before_start(self, due: datetime) -> bool:
        return self.start_at is not None and due < self.start_at

    def _is_past_end(self, due: datetime) -> bool:
        return self.end_at is not None and due > self.end_at


def _just_before(moment: datetime) -> datetime:
    """The instant before; the calendar's first instant has none."""
    return max(moment, _FIRST) - RESOLUTION


def _share(schedule_id: str, due: datetime) -> int:
    """A number from 0 to 2**64 - 1 that depends on nothing but its arguments."""
    written = (
        due.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")
    )
    digest = blake2b(f"{schedule_id}|{written}Z".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big")
