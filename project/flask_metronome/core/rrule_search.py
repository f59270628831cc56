"""The wall-clock times of one RFC 5545 rule, found without walking its whole past.

dateutil walks a rule from its start. A rule without COUNT has no memory, though: from
the first moment of any of its periods on it goes the same way, so a search starts from
the period at hand. Times here are naive.
"""

from __future__ import annotations

from bisect import bisect_right
from calendar import monthrange
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from typing import Any

from dateutil.rrule import DAILY, HOURLY, MINUTELY, MONTHLY, WEEKLY, YEARLY
from dateutil.rrule import rrule as dateutil_rule

from flask_metronome.errors import CadenceInvalid

LOOK_AHEAD = timedelta(days=50 * 366)
COUNT_WITHIN = timedelta(days=100 * 366)
_SECOND = timedelta(seconds=1)
_STEPS = {
    WEEKLY: timedelta(weeks=1),
    DAILY: timedelta(days=1),
    HOURLY: timedelta(hours=1),
    MINUTELY: timedelta(minutes=1),
}
_NAMED_DAYS = {"byweekno", "byyearday", "bymonthday", "byweekday"}


class RuleSearch:
    """One rule and its start, searched from either side.

    :param parts: dateutil's arguments without ``dtstart``.
    :param starts: the first moment, wall clock.
    :param text: the rule as written, for messages.
    :raises CadenceInvalid: the rule can never be met.
    """

    def __init__(self, parts: Mapping[str, Any], starts: datetime, text: str) -> None:
        self._starts = starts
        self._freq: int = parts["freq"]
        self._interval: int = parts.get("interval", 1)
        self._count: int | None = parts.get("count")
        self._until: datetime | None = parts.get("until")
        self._parts = _outright(parts, starts)
        self._week_starts: int = self._parts["wkst"]
        self._counted: list[datetime] | None = None
        if not self._has_days() or self._first() is None:
            raise CadenceInvalid("rule", "a rule that some date can meet", text)
        if self._count is not None:
            self._counted = self._all_counted(self._count)

    def first_after(self, local: datetime) -> datetime | None:
        """The first time strictly after ``local``."""
        if self._counted is not None:
            index = bisect_right(self._counted, local)
            return self._counted[index] if index < len(self._counted) else None
        local = max(local, self._starts - _SECOND)
        try:
            rule = self._rule(self._period_before(local, 0))
            found: datetime | None = rule.after(local)
        except (OverflowError, ValueError):
            return None
        return found

    def last_at_or_before(self, local: datetime) -> datetime | None:
        """The last time at or before ``local``."""
        if self._counted is not None:
            index = bisect_right(self._counted, local)
            return self._counted[index - 1] if index else None
        stop = local if self._until is None else min(local, self._until)
        back = 0
        while stop >= self._starts:
            begin = self._period_before(stop, back)
            found: datetime | None = self._rule(begin).before(stop, inc=True)
            if found is not None:
                return found
            stop, back = begin - _SECOND, 2 * back + 1
        return None

    def _rule(self, begins: datetime) -> Any:
        return dateutil_rule(**{**self._parts, "dtstart": begins})

    def _first(self) -> datetime | None:
        try:
            return next(iter(self._rule(self._starts)), None)
        except ValueError:
            # dateutil's word for hours and minutes that the interval never reaches.
            return None

    def _has_days(self) -> bool:
        """Whether any day of the next 50 years passes the rule's filters.

        dateutil would look for one up to the year 9999, for seconds, day by day.
        """
        if self._freq in {YEARLY, MONTHLY}:
            return True
        step = self._interval if self._freq == DAILY else 1
        day, last = self._starts.date(), (self._starts + LOOK_AHEAD).date()
        while day <= last:
            if _passes(self._parts, day):
                return True
            day += timedelta(days=step)
        return False

    def _all_counted(self, count: int) -> list[datetime]:
        """Every time of a rule with COUNT; there are few enough to keep."""
        last = self._starts + COUNT_WITHIN
        found: list[datetime] = []
        for local in self._rule(self._starts):
            if local > last:
                expected = f"a COUNT that is reached within 100 years ({len(found)})"
                raise CadenceInvalid("rule", expected, count)
            found.append(local)
            if len(found) == count:
                break
        return found

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
        return (local - self._first_period()) // self._step()

    def _period(self, index: int) -> datetime:
        if self._freq == YEARLY:
            return _midnight(date(self._starts.year + index * self._interval, 1, 1))
        if self._freq == MONTHLY:
            year, month = divmod(_month(self._starts) + index * self._interval, 12)
            return _midnight(date(year, month + 1, 1))
        return self._first_period() + index * self._step()

    def _step(self) -> timedelta:
        return _STEPS[self._freq] * self._interval

    def _first_period(self) -> datetime:
        if self._freq == MINUTELY:
            return self._starts.replace(second=0)
        if self._freq == HOURLY:
            return self._starts.replace(minute=0, second=0)
        day = _midnight(self._starts.date())
        if self._freq == DAILY:
            return day
        return day - timedelta(days=(day.weekday() - self._week_starts) % 7)


def _month(local: datetime) -> int:
    return local.year * 12 + local.month - 1


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time())


def _outright(parts: Mapping[str, Any], starts: datetime) -> dict[str, Any]:
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


def _passes(parts: Mapping[str, Any], day: date) -> bool:
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
