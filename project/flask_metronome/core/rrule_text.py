"""The text of one RFC 5545 recurrence rule, read into its parts and checked."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from dateutil.rrule import (
    DAILY,
    HOURLY,
    MINUTELY,
    MONTHLY,
    WEEKLY,
    YEARLY,
    weekday,
)

from flask_metronome.errors import CadenceInvalid

FREQUENCIES = {
    "YEARLY": YEARLY,
    "MONTHLY": MONTHLY,
    "WEEKLY": WEEKLY,
    "DAILY": DAILY,
    "HOURLY": HOURLY,
    "MINUTELY": MINUTELY,
}
WEEKDAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
_LONGEST = 1000
_DAY_SHAPE = re.compile(r"([+-]?\d{1,2})?([A-Z]{2})")
_UNTIL_SHAPE = re.compile(r"(\d{8})(?:T(\d{6})(Z?))?")
# What stands beside a rule in a calendar: its start, dates that are left out or added.
_LINES = re.compile(r"[\r\n]|(DTSTART|EXDATE|RDATE|EXRULE)\b", re.IGNORECASE)
# How often one weekday comes in a month, and in a year.
_WEEKS_OF_MONTH, _WEEKS_OF_YEAR = 5, 53
_LAST_SECOND = timedelta(hours=23, minutes=59, seconds=59)


def parse_rule(
    text: str, wall_time_of: Callable[[datetime], datetime]
) -> dict[str, Any]:
    """The parts of a rule as dateutil's arguments.

    :param text: e.g. ``FREQ=WEEKLY;BYDAY=MO,FR;BYHOUR=8``; one line, one rule.
    :param wall_time_of: turns a naive UTC time (of UNTIL) into the rule's wall clock.
    :raises CadenceInvalid: it cannot be understood.
    """
    if len(text) > _LONGEST:
        raise CadenceInvalid("rule", f"at most {_LONGEST} characters", f"{text[:40]}…")
    if _LINES.search(text):
        expected = "one rule alone (its start is given beside it; no dates by EXDATE)"
        raise CadenceInvalid("rule", expected, text)
    parts: dict[str, Any] = {}
    for pair in text.strip().upper().removeprefix("RRULE:").rstrip(";").split(";"):
        name, equals, value = pair.partition("=")
        reader = _READERS.get(name)
        if not equals or reader is None:
            raise CadenceInvalid("rule", f"parts of {', '.join(_READERS)}", pair)
        key, read = reader
        if key in parts:
            raise CadenceInvalid("rule", f"{name} once", text)
        parts[key] = read(name, value)
    if "until" in parts:
        parts["until"] = _wall_until(parts["until"], wall_time_of)
    return _checked(parts, text)


def _checked(parts: dict[str, Any], text: str) -> dict[str, Any]:
    freq = parts.get("freq")
    if freq is None:
        raise CadenceInvalid("rule", f"FREQ of {', '.join(FREQUENCIES)}", text)
    if "count" in parts and "until" in parts:
        raise CadenceInvalid("rule", "COUNT or UNTIL, not both", text)
    if "byweekno" in parts and freq != YEARLY:
        raise CadenceInvalid("rule", "BYWEEKNO with FREQ=YEARLY only", text)
    if "byyearday" in parts and freq != YEARLY:
        raise CadenceInvalid("rule", "BYYEARDAY with FREQ=YEARLY only", text)
    numbers = [abs(day.n) for day in parts.get("byweekday", ()) if day.n]
    if numbers and freq > MONTHLY:
        expected = "a number before a weekday with FREQ=MONTHLY or YEARLY only"
        raise CadenceInvalid("rule", expected, text)
    whole_year = freq == YEARLY and "bymonth" not in parts
    most = _WEEKS_OF_YEAR if whole_year else _WEEKS_OF_MONTH
    if numbers and max(numbers) > most:
        raise CadenceInvalid("rule", f"at most {most} before a weekday", text)
    if numbers:
        parts["byweekday"] = tuple(_numbered(parts["byweekday"], most))
    if "bysetpos" in parts and not any(
        key.startswith("by") for key in parts.keys() - {"bysetpos"}
    ):
        raise CadenceInvalid("rule", "BYSETPOS beside another BY part", text)
    return parts


def _numbered(days: Iterable[weekday], most: int) -> Iterator[weekday]:
    """The same weekdays, each with its number: «TU,1TH» means either, and dateutil
    would take it for both at once."""
    for day in days:
        if day.n:
            yield day
        else:
            yield from (day(number) for number in range(1, most + 1))


def _frequency(name: str, value: str) -> int:
    if value == "SECONDLY":
        raise CadenceInvalid(
            "rule", "FREQ=MINUTELY or slower (for seconds, use every or cron)", value
        )
    if value not in FREQUENCIES:
        raise CadenceInvalid("rule", f"FREQ of {', '.join(FREQUENCIES)}", value)
    return FREQUENCIES[value]


def _number(name: str, value: str, low: int, high: int) -> int:
    if not re.fullmatch(r"[+-]?[0-9]{1,6}", value) or not low <= int(value) <= high:
        raise CadenceInvalid("rule", f"{name} of {low} to {high}", value)
    return int(value)


def _numbers(name: str, value: str, low: int, high: int) -> tuple[int, ...]:
    found = tuple(_number(name, item, low, high) for item in value.split(","))
    if low < 0 and 0 in found:
        raise CadenceInvalid("rule", f"{name} other than 0", value)
    return found


def _days(name: str, value: str) -> tuple[weekday, ...]:
    found = []
    for item in value.split(","):
        match = _DAY_SHAPE.fullmatch(item)
        number = int(match[1]) if match and match[1] else None
        if not match or match[2] not in WEEKDAYS or number == 0:
            raise CadenceInvalid("rule", f"{name} like MO,TU or -1FR", value)
        found.append(weekday(WEEKDAYS.index(match[2]), number))
    return tuple(found)


def _week_start(name: str, value: str) -> int:
    if value not in WEEKDAYS:
        raise CadenceInvalid("rule", f"{name} of {', '.join(WEEKDAYS)}", value)
    return WEEKDAYS.index(value)


def _until(name: str, value: str) -> tuple[datetime, bool]:
    """The last moment, and whether it is in UTC."""
    match = _UNTIL_SHAPE.fullmatch(value)
    try:
        if match is None:
            raise ValueError(value)
        day = datetime.strptime(match[1] + (match[2] or "000000"), "%Y%m%d%H%M%S")  # noqa: DTZ007
    except ValueError:
        expected = f"{name} like 20261231, 20261231T080000 or 20261231T070000Z"
        raise CadenceInvalid("rule", expected, value) from None
    # A bare date is that day to its end: «until Friday» has Friday in it.
    return (day if match[2] else day + _LAST_SECOND), match[3] == "Z"


def _wall_until(
    until: tuple[datetime, bool], wall_time_of: Callable[[datetime], datetime]
) -> datetime:
    moment, in_utc = until
    return wall_time_of(moment).replace(microsecond=0) if in_utc else moment


def _list(low: int, high: int) -> Callable[[str, str], tuple[int, ...]]:
    return partial(_numbers, low=low, high=high)


_READERS: dict[str, tuple[str, Callable[[str, str], Any]]] = {
    "FREQ": ("freq", _frequency),
    "INTERVAL": ("interval", partial(_number, low=1, high=10_000)),
    "COUNT": ("count", partial(_number, low=1, high=10_000)),
    "UNTIL": ("until", _until),
    "WKST": ("wkst", _week_start),
    "BYMONTH": ("bymonth", _list(1, 12)),
    "BYMONTHDAY": ("bymonthday", _list(-31, 31)),
    "BYYEARDAY": ("byyearday", _list(-366, 366)),
    "BYWEEKNO": ("byweekno", _list(-53, 53)),
    "BYDAY": ("byweekday", _days),
    "BYHOUR": ("byhour", _list(0, 23)),
    "BYMINUTE": ("byminute", _list(0, 59)),
    "BYSECOND": ("bysecond", _list(0, 59)),
    "BYSETPOS": ("bysetpos", _list(-366, 366)),
}
