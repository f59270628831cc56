"""A cron expression as pure calendar: which wall-clock times it names.

The mathematics are cronsim's, on times without a zone; which instants those wall-clock
times are is decided elsewhere. Times here are naive.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from copy import copy
from datetime import date, datetime, time, timedelta
from functools import lru_cache

from cronsim import CronSim, CronSimError

from flask_metronome.errors import CadenceInvalid

MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}

# cronsim takes a range of one value with a step, 5-5/2, for 5/2: from 5 to the end.
_ONE_VALUE = re.compile(r"\b(\w+)-\1/0*[1-9][0-9]*\b")
_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)
_ANY_MOMENT = datetime.combine(date(2000, 1, 1), time())
_LONGEST = 1000
_SHAPES = {
    "second": "seconds 0-59",
    "minute": "minutes 0-59",
    "hour": "hours 0-23",
    "day-of-month": "days 1-31, L or LW",
    "month": "months 1-12 or jan-dec",
    "day-of-week": "weekdays 0-7 or sun-sat, 5L or 1#2",
}


class CronCalendar:
    """The wall-clock times that one expression names.

    :param both_days: a day must match the day-of-month *and* the weekday field also
        where neither starts with ``*`` (Celery's reading; cron's own is «either»).
    """

    def __init__(self, expression: str, both_days: bool = False) -> None:
        self.fields = _fields(expression)
        self.follows_wall = any(field.startswith("*") for field in self.fields[1:3])
        self._sim = _parse(" ".join(self.fields), expression)
        self._sim.day_and = self.both_days = self._sim.day_and or both_days
        self._backward = copy(self._sim)
        self._backward.tick_direction = -1
        self.seconds = sorted(self._sim.seconds)
        self.minutes = sorted(self._sim.minutes)
        self.hours = sorted(self._sim.hours)
        self.days: set[int] = self._sim.days
        self.months: set[int] = self._sim.months
        self.weekdays: set[int | tuple[int, int]] = self._sim.weekdays
        if self.first_at_or_after(_ANY_MOMENT) is None:
            raise CadenceInvalid("expression", _CAN_BE_MET, expression)

    def first_at_or_after(self, local: datetime) -> datetime | None:
        """The first time named at or after ``local``, a whole second."""
        sim = copy(self._sim)
        sim.dt = local
        try:
            sim.advance()
        except (StopIteration, OverflowError, ValueError):
            return None
        found: datetime = sim.dt
        return found

    def last_at_or_before(self, local: datetime) -> datetime | None:
        """The last time named at or before ``local``, a whole second."""
        sim = copy(self._backward)
        sim.dt = local
        try:
            sim.reverse()
        except (StopIteration, OverflowError, ValueError):
            return None
        found: datetime = sim.dt
        return found

    def count(self, starts: datetime, ends: datetime) -> int:
        """How many times with ``starts <= t < ends`` it names; a step per day."""
        if ends <= starts:
            return 0
        first, last = starts.date(), ends.date()
        total = self._in_day(ends) if self._names_day(ends) else 0
        if self._names_day(starts):
            total -= self._in_day(starts)
        full = len(self.hours) * len(self.minutes) * len(self.seconds)
        day = first
        while day < last:
            if self._names_day(datetime.combine(day, time())):
                total += full
            day += _DAY
        return total

    def _names_day(self, local: datetime) -> bool:
        months: set[int] = self._sim.months
        return local.month in months and bool(self._sim.match_day(local.date()))

    def _in_day(self, until: datetime) -> int:
        """How many times of day are before that of ``until``, on a day named."""
        minutes, seconds = len(self.minutes), len(self.seconds)
        hour = bisect_left(self.hours, until.hour)
        count = hour * minutes * seconds
        if until.hour not in self._sim.hours:
            return count
        minute = bisect_left(self.minutes, until.minute)
        count += minute * seconds
        if until.minute not in self._sim.minutes:
            return count
        whole = until.second + (1 if until.microsecond else 0)
        return count + bisect_left(self.seconds, whole)


_CAN_BE_MET = "an expression that some date can meet"


@lru_cache(maxsize=4096)
def cron_calendar(expression: str, both_days: bool = False) -> CronCalendar:
    """The calendar of an expression, parsed once.

    :raises CadenceInvalid: it cannot be understood or can never be met.
    """
    return CronCalendar(expression, both_days)


def _fields(expression: str) -> tuple[str, ...]:
    """The six fields, seconds first."""
    if len(expression) > _LONGEST:
        raise CadenceInvalid(
            "expression", f"at most {_LONGEST} characters", f"{expression[:40]}…"
        )
    fields = _ONE_VALUE.sub(r"\1", _macro(expression).upper()).split()
    if len(fields) == 5:
        fields.insert(0, "0")
    if len(fields) != 6:
        raise CadenceInvalid(
            "expression",
            "5 fields (minute hour day month weekday) or 6 (second first)",
            expression,
        )
    return tuple(fields)


def _macro(expression: str) -> str:
    text = expression.strip()
    if not text.startswith("@"):
        return text
    if text.lower() == "@reboot":
        raise CadenceInvalid(
            "expression", "times of a calendar (a start is not one)", expression
        )
    known = MACROS.get(text.lower())
    if known is None:
        raise CadenceInvalid("expression", f"one of {', '.join(MACROS)}", expression)
    return known


def _parse(fields: str, expression: str) -> CronSim:
    try:
        return CronSim(fields, _ANY_MOMENT)
    except CronSimError as error:
        raise CadenceInvalid("expression", _expected(str(error)), expression) from None
    except (ValueError, AssertionError):
        raise CadenceInvalid("expression", "numbers in range", expression) from None


def _expected(problem: str) -> str:
    field = problem.removeprefix("Bad ")
    shape = _SHAPES.get(field)
    if shape is None:
        return "a cron expression"
    ranges = "lists with ',', ranges low-high, steps with '/'"
    article = "an" if field == "hour" else "a"
    return f"{article} {field} field that some date can meet: {shape}; {ranges}"
