"""The wall-clock times of an RFC 5545 rule that goes by days or faster.

Its periods lie within a day, so that each day is judged by itself: whether it passes
the rule's filters, and which periods of the rule's grid begin in it. dateutil walks
from period to period instead, for a rule that is hardly ever met up to the year 9999.
Times here are naive.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from calendar import monthrange
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from itertools import product
from typing import Any

from dateutil.rrule import DAILY, HOURLY, MINUTELY

LOOK_AHEAD = timedelta(days=50 * 366)
_DAY = timedelta(days=1)
_LATEST = datetime.combine(date.max, time(23, 59, 59))
_DAY_MINUTES = 1440
_PERIOD_MINUTES = {DAILY: _DAY_MINUTES, HOURLY: 60, MINUTELY: 1}


class DayRule:
    """One rule of FREQ=DAILY, HOURLY or MINUTELY, and its start.

    :param parts: dateutil's arguments, with everything said that a rule takes from its
        start; without ``dtstart`` and COUNT.
    :param starts: the first moment.
    """

    def __init__(self, parts: Mapping[str, Any], starts: datetime) -> None:
        period = _PERIOD_MINUTES[parts["freq"]]
        self._starts = starts
        self._until: datetime = parts.get("until") or _LATEST
        self._parts = parts
        self._months = set(parts.get("bymonth") or ())
        self._grid = parts.get("interval", 1) * period
        # the first period begins where the grid has its origin
        self._origin = _minutes(starts) // period * period
        self._begins = _begins(parts, period)
        self._offsets = _placed(_offsets(parts, period), parts.get("bysetpos"))
        self._by_phase: dict[int, list[int]] = {}

    def first_after(self, local: datetime) -> datetime | None:
        """The first time strictly after ``local``; None: not within 50 years."""
        if local >= self._until:
            return None
        moment = max(local, self._starts - timedelta(seconds=1))
        first, seconds = moment.date(), _seconds(moment)
        last = min(_days_on(first, LOOK_AHEAD), self._until.date())
        for day in self._days(first, last):
            times = self._times_of(day)
            index = bisect_right(times, seconds) if day == first else 0
            if index < len(times):
                found = _at(day, times[index])
                return found if found <= self._until else None
        return None

    def last_at_or_before(self, local: datetime) -> datetime | None:
        """The last time at or before ``local``; None: not within 50 years."""
        moment = min(local, self._until)
        day = moment.date()
        earliest = max(self._starts.date(), _days_on(day, -LOOK_AHEAD))
        while day >= earliest:
            times = self._times_of(day) if self._passes(day) else ()
            same = day == moment.date()
            index = bisect_right(times, _seconds(moment)) if same else len(times)
            if index:
                found = _at(day, times[index - 1])
                return found if found >= self._starts else None
            day = self._day_before(day)
        return None

    def count(self, starts: datetime, ends: datetime) -> int:
        """How many times there are with ``starts <= t < ends``; a step per day."""
        starts = max(starts, self._starts)
        if self._until < ends:
            ends = self._until + timedelta(seconds=1)
        if ends <= starts:
            return 0
        first, last, total = starts.date(), ends.date(), 0
        for day in self._days(first, last):
            times = self._times_of(day)
            low, high = 0, len(times)
            if day == first:
                low = bisect_left(times, _seconds(starts, up=True))
            if day == last:
                high = bisect_left(times, _seconds(ends, up=True))
            total += max(high - low, 0)
        return total

    def _days(self, day: date, last: date) -> Iterator[date]:
        """The days that pass the filters, from ``day`` to ``last``."""
        while day <= last:
            if self._passes(day):
                yield day
            if day == date.max:
                return
            day += _DAY
            if self._months and day.month not in self._months:
                day = _next_month(day)

    def _day_before(self, day: date) -> date:
        before = _days_on(day, -_DAY)
        if self._months and before.month not in self._months:
            return before.replace(day=1)
        return before

    def _passes(self, day: date) -> bool:
        return passes(self._parts, day)

    def _times_of(self, day: date) -> Sequence[int]:
        """The times of a day that passes, in seconds since its midnight."""
        midnight = day.toordinal() * _DAY_MINUTES - self._origin
        if midnight < 0:
            # the day of the start: no period begins before the first one
            return self._from_grid(midnight, max(self._begins[0], -midnight))
        phase = midnight % self._grid
        if phase not in self._by_phase:
            self._by_phase[phase] = self._from_grid(phase, 0)
        return self._by_phase[phase]

    def _from_grid(self, phase: int, earliest: int) -> list[int]:
        return [
            begins * 60 + offset
            for begins in self._begins
            if begins >= earliest and (phase + begins) % self._grid == 0
            for offset in self._offsets
        ]


def passes(parts: Mapping[str, Any], day: date) -> bool:
    """Whether a day passes the filters that FREQ=WEEKLY and faster may have."""
    months, days = parts.get("bymonth"), parts.get("bymonthday")
    weekdays = parts.get("byweekday")
    if months and day.month not in months:
        return False
    if days:
        length = monthrange(day.year, day.month)[1]
        if day.day not in days and day.day - length - 1 not in days:
            return False
    return not weekdays or day.weekday() in {
        getattr(each, "weekday", each) for each in weekdays
    }


def _begins(parts: Mapping[str, Any], period: int) -> list[int]:
    """Where in a day periods may begin, in minutes."""
    if period == _DAY_MINUTES:
        return [0]
    hours = sorted(set(parts.get("byhour") or range(24)))
    if period == 60:
        return [hour * 60 for hour in hours]
    minutes = sorted(set(parts.get("byminute") or range(60)))
    return [hour * 60 + minute for hour, minute in product(hours, minutes)]


def _offsets(parts: Mapping[str, Any], period: int) -> list[int]:
    """The times within a period, in seconds since it began."""
    hours = parts["byhour"] if period == _DAY_MINUTES else (0,)
    minutes = parts["byminute"] if period >= 60 else (0,)
    return sorted(
        {
            hour * 3600 + minute * 60 + second
            for hour, minute, second in product(hours, minutes, parts["bysecond"])
        }
    )


def _placed(offsets: list[int], places: Sequence[int] | None) -> list[int]:
    """Those of the offsets that BYSETPOS means."""
    if not places:
        return offsets
    size = len(offsets)
    found = {place - 1 if place > 0 else size + place for place in places}
    return [offsets[index] for index in sorted(found) if 0 <= index < size]


def _minutes(local: datetime) -> int:
    return local.toordinal() * _DAY_MINUTES + local.hour * 60 + local.minute


def _seconds(local: datetime, *, up: bool = False) -> int:
    whole = local.hour * 3600 + local.minute * 60 + local.second
    return whole + (1 if up and local.microsecond else 0)


def _at(day: date, seconds: int) -> datetime:
    return datetime.combine(day, time()) + timedelta(seconds=seconds)


def _days_on(day: date, span: timedelta) -> date:
    """The day that far on, within the calendar."""
    wanted = day.toordinal() + span.days
    return date.fromordinal(min(max(wanted, 1), date.max.toordinal()))


def _next_month(day: date) -> date:
    """The first day of the month after, within the calendar."""
    if (day.year, day.month) == (date.max.year, date.max.month):
        return date.max
    return date(day.year + day.month // 12, day.month % 12 + 1, 1)
