"""The wall-clock times of one RFC 5545 rule, found without walking its whole past.

dateutil walks a rule from its start. A rule without COUNT has no memory, though: from
the first moment of any of its periods on it goes the same way, so a search starts from
the period at hand. Times here are naive.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from typing import Any, Protocol

from dateutil.rrule import DAILY, HOURLY, MINUTELY, MONTHLY, WEEKLY, YEARLY
from dateutil.rrule import rrule as dateutil_rule

from flask_metronome.core.rrule_days import LOOK_AHEAD, DayRule, passes
from flask_metronome.errors import CadenceInvalid

COUNT_WITHIN = timedelta(days=100 * 366)
_SECOND = timedelta(seconds=1)
_NAMED_DAYS = {"byweekno", "byyearday", "bymonthday", "byweekday"}
_LONGEST_MONTH = {2: 29, 4: 30, 6: 30, 9: 30, 11: 30}
_MOST_DAYS = {YEARLY: 366, MONTHLY: 31, WEEKLY: 7}


class RuleTimes(Protocol):
    """A line of wall-clock times that can be searched from either side."""

    def first_after(self, local: datetime) -> datetime | None:
        """The first time strictly after ``local``."""

    def last_at_or_before(self, local: datetime) -> datetime | None:
        """The last time at or before ``local``."""

    def count(self, starts: datetime, ends: datetime) -> int:
        """How many times there are with ``starts <= t < ends``."""


def rule_times(parts: Mapping[str, Any], starts: datetime, text: str) -> RuleTimes:
    """The times of one rule.

    :param parts: dateutil's arguments without ``dtstart``.
    :param starts: the first moment, wall clock.
    :param text: the rule as written, for messages.
    :raises CadenceInvalid: the rule can never be met, or its COUNT is not reached
        within 100 years.
    """
    said = said_outright(parts, starts)
    found: RuleTimes | None = None
    if _can_be_met(said):
        fast = said["freq"] >= DAILY
        found = DayRule(said, starts) if fast else PeriodRule(said, starts)
    if found is None or found.first_after(starts - _SECOND) is None:
        raise CadenceInvalid("rule", "a rule that some date can meet", text)
    count = parts.get("count")
    return found if count is None else CountedTimes(found, starts, count)


class CountedTimes:
    """The times of a rule with COUNT; there are few enough to keep."""

    def __init__(self, rule: RuleTimes, starts: datetime, count: int) -> None:
        last = starts + COUNT_WITHIN
        self._times: list[datetime] = []
        local = rule.first_after(starts - _SECOND)
        while local is not None and local <= last and len(self._times) < count:
            self._times.append(local)
            local = rule.first_after(local)
        reached = len(self._times)
        if reached < count:
            expected = f"a COUNT that is reached within 100 years ({reached})"
            raise CadenceInvalid("rule", expected, count)

    def first_after(self, local: datetime) -> datetime | None:
        """The first time strictly after ``local``."""
        index = bisect_right(self._times, local)
        return self._times[index] if index < len(self._times) else None

    def last_at_or_before(self, local: datetime) -> datetime | None:
        """The last time at or before ``local``."""
        index = bisect_right(self._times, local)
        return self._times[index - 1] if index else None

    def count(self, starts: datetime, ends: datetime) -> int:
        """How many times there are with ``starts <= t < ends``."""
        low, high = bisect_left(self._times, starts), bisect_left(self._times, ends)
        return max(high - low, 0)


class PeriodRule:
    """One rule of FREQ=YEARLY, MONTHLY or WEEKLY, and its start.

    :param parts: dateutil's arguments, with everything said that a rule takes from its
        start; without ``dtstart`` and COUNT.
    :param starts: the first moment.
    """

    def __init__(self, parts: Mapping[str, Any], starts: datetime) -> None:
        self._parts = dict(parts)
        self._starts = starts
        self._freq: int = parts["freq"]
        self._interval: int = parts.get("interval", 1)
        self._until: datetime | None = parts.get("until")
        self._never = not self._has_days()

    def first_after(self, local: datetime) -> datetime | None:
        """The first time strictly after ``local``."""
        if self._never:
            return None
        local = max(local, self._starts - _SECOND)
        try:
            rule = self._rule(self._period_before(local, 0))
            found: datetime | None = rule.after(local)
        except (OverflowError, ValueError):
            return None
        return found

    def last_at_or_before(self, local: datetime) -> datetime | None:
        """The last time at or before ``local``."""
        stop = local if self._until is None else min(local, self._until)
        back = 0
        while stop >= self._starts:
            begin = self._period_before(stop, back)
            found: datetime | None = self._rule(begin).before(stop, inc=True)
            if found is not None:
                return found
            stop, back = begin - _SECOND, 2 * back + 1
        return None

    def count(self, starts: datetime, ends: datetime) -> int:
        """How many times there are with ``starts <= t < ends``."""
        total = 0
        for local in self._walk(self._period_before(starts, 0)):
            if local >= ends:
                break
            total += local >= starts
        return total

    def _walk(self, begins: datetime) -> Iterator[datetime]:
        try:
            yield from self._rule(begins)
        except (OverflowError, ValueError):
            # the end of the calendar
            return

    def _rule(self, begins: datetime) -> Any:
        return dateutil_rule(**{**self._parts, "dtstart": begins})

    def _has_days(self) -> bool:
        """Whether any day of the next 50 years passes the rule's filters.

        dateutil would look for one up to the year 9999, for seconds.
        """
        if self._freq != WEEKLY:
            return True
        day, last = self._starts.date(), (self._starts + LOOK_AHEAD).date()
        while day <= last:
            if passes(self._parts, day):
                return True
            day += timedelta(days=1)
        return False

    def _period_before(self, local: datetime, back: int) -> datetime:
        """Where the period that holds ``local`` begins, or one so many before it.

        The first period begins at the rule's own start.
        """
        index = self._index_of(local) - back
        return self._starts if index <= 0 else self._period(index)

    def _index_of(self, local: datetime) -> int:
        if local <= self._starts:
            return 0
        if self._freq == YEARLY:
            return (local.year - self._starts.year) // self._interval
        if self._freq == MONTHLY:
            return (_month(local) - _month(self._starts)) // self._interval
        return (local - self._first_week()) // self._weeks()

    def _period(self, index: int) -> datetime:
        if self._freq == YEARLY:
            return _midnight(date(self._starts.year + index * self._interval, 1, 1))
        if self._freq == MONTHLY:
            year, month = divmod(_month(self._starts) + index * self._interval, 12)
            return _midnight(date(year, month + 1, 1))
        return self._first_week() + index * self._weeks()

    def _weeks(self) -> timedelta:
        return timedelta(weeks=self._interval)

    def _first_week(self) -> datetime:
        day = _midnight(self._starts.date())
        return day - timedelta(days=(day.weekday() - self._parts["wkst"]) % 7)


def _month(local: datetime) -> int:
    return local.year * 12 + local.month - 1


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time())


def said_outright(parts: Mapping[str, Any], starts: datetime) -> dict[str, Any]:
    """The parts with everything said that a rule takes from its start, so that a
    search may begin elsewhere."""
    freq = parts["freq"]
    said: dict[str, Any] = {**parts, "wkst": parts.get("wkst", 0), "count": None}
    if not _NAMED_DAYS & parts.keys():
        if freq == YEARLY:
            said.setdefault("bymonth", (starts.month,))
        if freq in {YEARLY, MONTHLY}:
            said["bymonthday"] = (starts.day,)
        if freq == WEEKLY:
            said["byweekday"] = (starts.weekday(),)
    if freq < HOURLY:
        said.setdefault("byhour", (starts.hour,))
    if freq < MINUTELY:
        said.setdefault("byminute", (starts.minute,))
    said.setdefault("bysecond", (starts.second,))
    return said


def _can_be_met(parts: Mapping[str, Any]) -> bool:
    """False for what no calendar has, which dateutil would look for till 9999."""
    days: Sequence[int] = parts.get("bymonthday") or ()
    months = parts.get("bymonth") or range(1, 13)
    longest = max(_LONGEST_MONTH.get(month, 31) for month in months)
    if days and min(map(abs, days)) > longest:
        return False
    places, most = parts.get("bysetpos"), _MOST_DAYS.get(parts["freq"])
    if not places or most is None:
        return True
    times = 1
    for name in ("byhour", "byminute", "bysecond"):
        times *= len(set(parts[name]))
    if days:
        most = min(most, len(set(days)) * (1 if parts["freq"] == MONTHLY else 12))
    if parts["freq"] == WEEKLY and parts.get("byweekday"):
        most = len({getattr(day, "weekday", day) for day in parts["byweekday"]})
    return bool(min(map(abs, places)) <= most * times)
