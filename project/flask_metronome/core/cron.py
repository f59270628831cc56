"""The cadence ``cron``: wall-clock times in one time zone.

The rule for the nights on which clocks change, as in Debian's cron, holds for every
zone and for six-field expressions too:

* a fixed time that does not exist fires once, at the first instant after the gap;
* a fixed time that comes twice fires once, in the first pass;
* an expression whose minute or hour field starts with ``*`` follows the clock on the
  wall: nothing in the gap, both passes of the repeated hour.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import ClassVar

from flask_metronome.core.cron_calendar import CronCalendar, cron_calendar
from flask_metronome.core.cron_words import cron_words
from flask_metronome.core.instants import Instants, as_utc, at_most
from flask_metronome.core.json import JSON, only_keys, text_of
from flask_metronome.core.wall_clock import Stretch, WallClock, wall_clock, zone_name
from flask_metronome.errors import CadenceInvalid

_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Cron(Instants):
    """A cron expression and the zone whose clock it means.

    :param expression: 5 fields (minute hour day month weekday), 6 (second first), or
        a macro such as ``@daily``.
    :param tz: an IANA zone.
    :param both_days: see :func:`cron`.
    """

    kind: ClassVar[str] = "cron"
    expression: str
    tz: str = "UTC"
    both_days: bool = False

    @property
    def calendar(self) -> CronCalendar:
        """The wall-clock times that the expression names."""
        return cron_calendar(self.expression, self.both_days)

    @property
    def clock(self) -> WallClock:
        """The clock that the expression means."""
        return wall_clock(self.tz)

    def next_after(self, moment: datetime) -> datetime | None:
        """The first instant strictly after ``moment``.

        None: not within the 50 years that are looked ahead.
        """
        utc = as_utc(moment, "moment").replace(tzinfo=None)
        try:
            found = self._next_wall(utc) if self._wall else self._next_fixed(utc)
        except OverflowError:
            return None
        return None if found is None else found.replace(tzinfo=UTC)

    def previous_at_or_before(self, moment: datetime) -> datetime | None:
        """The last instant at or before ``moment``.

        None: not within the 50 years that are looked back.
        """
        utc = as_utc(moment, "moment").replace(tzinfo=None)
        try:
            found = self._last_wall(utc) if self._wall else self._last_fixed(utc)
        except OverflowError:
            return None
        return None if found is None else found.replace(tzinfo=UTC)

    def count_between(
        self, after: datetime, until: datetime, limit: int | None = None
    ) -> int:
        """How many instants have ``after < t <= until``: a step per day, not per
        instant."""
        start = _whole(as_utc(after, "after").replace(tzinfo=None)) + _SECOND
        stop = _whole(as_utc(until, "until").replace(tzinfo=None)) + _SECOND
        total = 0
        for stretch in self.clock.stretches_from(start):
            if stretch.starts >= stop or (limit is not None and total >= limit):
                break
            total += self._count_in(stretch, start, stop)
        return at_most(total, limit)

    def wall_times(self, starts: datetime, ends: datetime) -> Iterator[datetime]:
        """The wall-clock times named with ``starts <= t < ends``; naive."""
        found = self.calendar.first_at_or_after(starts)
        while found is not None and found < ends:
            yield found
            found = self.calendar.first_at_or_after(found + _SECOND)

    def to_dict(self) -> dict[str, JSON]:
        """As JSON."""
        found: dict[str, JSON] = {
            "kind": self.kind,
            "expression": self.expression,
            "tz": self.tz,
        }
        return found | {"both_days": True} if self.both_days else found

    def words(self) -> str:
        """«every weekday at 08:00 (Europe/Berlin)»."""
        return cron_words(self.calendar, self.tz)

    @property
    def _wall(self) -> bool:
        return self.calendar.follows_wall

    def _next_fixed(self, utc: datetime) -> datetime | None:
        shown = _whole(self.clock.shown_by(utc))
        local = self.calendar.first_at_or_after(shown + _SECOND)
        return None if local is None else self.clock.instant_of(local)

    def _last_fixed(self, utc: datetime) -> datetime | None:
        local = self.calendar.last_at_or_before(_whole(self.clock.shown_by(utc)))
        return None if local is None else self.clock.instant_of(local)

    def _next_wall(self, utc: datetime) -> datetime | None:
        local: datetime | None = None
        for stretch in self.clock.stretches_from(utc):
            starts = max(_whole(utc + stretch.offset) + _SECOND, stretch.local_starts)
            # What an earlier stretch found is still the next one, unless the clock
            # jumped over it or went back to where the search had not looked.
            if local is None or local < starts or starts < stretch.reached:
                local = self.calendar.first_at_or_after(starts)
            if local is None or local < stretch.local_ends:
                return None if local is None else local - stretch.offset
        return None

    def _last_wall(self, utc: datetime) -> datetime | None:
        local: datetime | None = None
        later_starts: datetime | None = None
        for stretch in self.clock.stretches_back_from(utc):
            ends = min(_whole(utc + stretch.offset), stretch.local_ends - _SECOND)
            repeated = later_starts is not None and ends >= later_starts
            if local is None or local > ends or repeated:
                local = self.calendar.last_at_or_before(ends)
            if local is None or local >= stretch.local_starts:
                return None if local is None else local - stretch.offset
            later_starts = stretch.local_starts
        return None

    def _count_in(self, stretch: Stretch, start: datetime, stop: datetime) -> int:
        """How many instants of ``start <= t < stop`` lie in one stretch."""
        if not self._wall:
            return stretch.count_fixed(start, stop, self.calendar.count)
        first = max(start, stretch.starts) + stretch.offset
        last = min(stop, stretch.ends) + stretch.offset
        return self.calendar.count(first, last)


def _whole(moment: datetime) -> datetime:
    return moment.replace(microsecond=0)


def cron(expression: str, tz: str | tzinfo = "UTC", *, both_days: bool = False) -> Cron:
    """A cadence by a cron expression.

    :param expression: 5 fields: minute hour day month weekday; or 6: **second first**;
        names, lists, ranges, steps, ``L``, ``LW``, ``5L``, ``1#2``; or ``@hourly``,
        ``@daily``, ``@weekly``, ``@monthly``, ``@yearly``.
    :param tz: the zone whose wall clock is meant.
    :param both_days: with a day of month and a weekday, a day must match both, as in
        Celery's crontab. Without it either is enough, as in cron, unless one of the
        two fields starts with ``*``.
    :raises CadenceInvalid: the expression cannot be understood or can never be met, or
        there is no such zone.
    """
    if not isinstance(expression, str):
        raise CadenceInvalid("expression", "text", expression)
    written = " ".join(expression.split())
    cron_calendar(written, both_days)
    return Cron(expression=written, tz=zone_name(tz), both_days=both_days)


def cron_from_dict(found: Mapping[str, object]) -> Cron:
    """Read what :meth:`Cron.to_dict` wrote.

    :raises CadenceInvalid: a field is missing, unknown or wrong.
    """
    only_keys(found, required=("expression",), optional=("tz", "both_days"))
    both = found.get("both_days", False)
    if not isinstance(both, bool):
        raise CadenceInvalid("both_days", "true or false", both)
    tz = text_of(found, "tz", "UTC")
    return cron(text_of(found, "expression"), tz, both_days=both)
