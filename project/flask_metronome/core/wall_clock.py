"""The wall clock of one time zone: what it shows when, gaps and repeats included.

Times here are naive: ``utc`` is UTC, ``local`` is what the clock on the wall shows.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import MAXYEAR, UTC, date, datetime, time, timedelta, tzinfo
from functools import lru_cache
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

from flask_metronome.core.instants import RESOLUTION
from flask_metronome.errors import CadenceInvalid

# No zone has ever moved its clock twice within 95 hours (Freetown, September 1939),
# and no jump is longer than a day: probing every two days finds every change.
_PROBE = timedelta(days=2)
_LOOK_BACK = timedelta(days=4)
_SECOND = timedelta(seconds=1)
_FEW = 4
# Names that mean another zone on every machine, or none at all.
_NOT_ZONES = frozenset({"localtime", "posixrules", "Factory"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Stretch:
    """A span of UTC in which the zone's offset stays the same.

    :param starts: first instant, UTC.
    :param ends: first instant after it, UTC.
    :param offset: local time minus UTC.
    :param reached: the wall-clock time that all earlier stretches had come up to,
        exclusive. Below ``local_starts``: a gap. Above: the clock repeats itself.
    """

    starts: datetime
    ends: datetime
    offset: timedelta
    reached: datetime

    @property
    def local_starts(self) -> datetime:
        """What the clock shows first."""
        return self.starts + self.offset

    @property
    def local_ends(self) -> datetime:
        """What the clock would show at ``ends`` if it went on the same way."""
        return self.ends + self.offset

    def count_fixed(
        self,
        start: datetime,
        stop: datetime,
        count: Callable[[datetime, datetime], int],
    ) -> int:
        """How many instants of ``start <= t < stop`` lie here, of fixed local times.

        :param count: how many of these times there are in a span of local time.
        """
        first = max(start, self.starts) + self.offset
        last = min(stop, self.ends) + self.offset
        total = count(max(first, self.reached), last)
        gap = start <= self.starts and count(self.reached, self.local_starts)
        # All times of a gap fire together, at its end, with the one named there.
        if gap and not count(first, first + _SECOND):
            total += 1
        return total


@dataclass(frozen=True, slots=True)
class WallClock:
    """The clock on the wall in one zone."""

    zone: ZoneInfo

    def stretch_at(self, utc: datetime) -> Stretch:
        """The stretch of constant offset that holds ``utc``.

        :raises OverflowError: at the very ends of the calendar.
        """
        stretches = _stretches(self.zone, utc.year)
        return stretches[bisect_right(stretches, utc, key=_starts_of) - 1]

    def stretches_from(self, utc: datetime) -> Iterator[Stretch]:
        """The stretch that holds ``utc`` and all later ones."""
        while True:
            stretch = self.stretch_at(utc)
            yield stretch
            utc = stretch.ends

    def stretches_back_from(self, utc: datetime) -> Iterator[Stretch]:
        """The stretch that holds ``utc`` and all earlier ones."""
        while True:
            stretch = self.stretch_at(utc)
            yield stretch
            utc = stretch.starts - RESOLUTION

    def shown_by(self, utc: datetime) -> datetime:
        """The latest wall-clock time that was shown up to and including ``utc``.

        In a repeated hour's second pass that is the end of the first pass.
        """
        stretch = self.stretch_at(utc)
        local = utc + stretch.offset
        return local if local >= stretch.reached else stretch.reached - RESOLUTION

    def instant_of(self, local: datetime) -> datetime:
        """When a fixed wall-clock time happens, in UTC.

        A time in a gap: the first instant after the gap. A repeated time: its first
        pass.
        """
        before = _offset(self.zone, local)
        if before >= _offset(self.zone, local.replace(fold=1)):
            return local - before
        # the stretch after the gap may be cut, by a new year, into several
        nearest = islice(self.stretches_back_from(local - before), _FEW)
        found = (s for s in nearest if s.reached <= local < s.local_starts)
        return (next(found, None) or self.stretch_at(local - before)).starts


@lru_cache(maxsize=1024)
def wall_clock(tz: str) -> WallClock:
    """The wall clock of an IANA zone.

    :raises CadenceInvalid: there is no such zone.
    """
    try:
        if tz in _NOT_ZONES:
            raise ValueError(tz)
        return WallClock(ZoneInfo(tz))
    except (KeyError, ValueError, OSError):
        raise CadenceInvalid(
            "tz", "an IANA time zone such as 'Europe/Berlin'", tz
        ) from None


def zone_name(tz: str | tzinfo) -> str:
    """The IANA name of a zone given by name or as an object.

    :raises CadenceInvalid: there is no such zone, or the object has no IANA name.
    """
    name = "UTC" if tz is UTC else getattr(tz, "key", tz)
    if not isinstance(name, str):
        raise CadenceInvalid("tz", "an IANA time zone such as 'Europe/Berlin'", tz)
    wall_clock(name)
    return name


def _starts_of(stretch: Stretch) -> datetime:
    return stretch.starts


def _offset(zone: ZoneInfo, local: datetime) -> timedelta:
    return zone.utcoffset(local) or timedelta()


def _offset_at(zone: ZoneInfo, utc: datetime) -> timedelta:
    return utc.replace(tzinfo=UTC).astimezone(zone).utcoffset() or timedelta()


@lru_cache(maxsize=16_384)
def _stretches(zone: ZoneInfo, year: int) -> tuple[Stretch, ...]:
    """The stretches of one UTC year, cut at its two ends."""
    first, last = _new_year(year), _new_year(year + 1)
    begins = first - _LOOK_BACK
    edges = sorted({begins, first, last, *_changes(zone, begins, last)})
    found: list[Stretch] = []
    reached = begins + _offset_at(zone, begins)
    for starts, ends in pairwise(edges):
        offset = _offset_at(zone, starts)
        found.append(Stretch(starts=starts, ends=ends, offset=offset, reached=reached))
        reached = max(reached, ends + offset)
    return tuple(stretch for stretch in found if stretch.starts >= first)


def _new_year(year: int) -> datetime:
    if year > MAXYEAR:
        raise OverflowError(year)
    return datetime.combine(date(year, 1, 1), time())


def _changes(zone: ZoneInfo, begins: datetime, ends: datetime) -> Iterator[datetime]:
    """The instants in a span at which the offset changes."""
    low, offset = begins, _offset_at(zone, begins)
    while low < ends:
        high = min(low + _PROBE, ends)
        later = _offset_at(zone, high)
        if later != offset:
            yield _change_in(zone, low, high)
        low, offset = high, later


def _change_in(zone: ZoneInfo, low: datetime, high: datetime) -> datetime:
    """The one change in ``low < t <= high``, to the second."""
    old = _offset_at(zone, low)
    while high - low > _SECOND:
        middle = low + (high - low) // 2
        middle = middle.replace(microsecond=0)
        if _offset_at(zone, middle) == old:
            low = middle
        else:
            high = middle
    return high
