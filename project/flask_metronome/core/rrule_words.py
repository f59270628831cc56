"""Recurrence rules in words for people.

A rule that a cron expression can say gets the words of that one; every other rule is
quoted, never guessed at.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from dateutil.rrule import DAILY, YEARLY

from flask_metronome.core.cron_calendar import cron_calendar
from flask_metronome.core.cron_words import cron_words
from flask_metronome.core.words import clock_words
from flask_metronome.errors import CadenceInvalid

_UNSAYABLE = ("bysetpos", "byweekno", "byyearday")
_QUOTED = "cron "


def rrule_words(
    rule: str, parts: Mapping[str, Any], start: datetime | None, tz: str
) -> str:
    """«every Monday at 08:00, 10 times, from 2026-01-05 08:00 (Europe/Berlin)».

    :param rule: the text, for what cannot be said otherwise.
    :param parts: dateutil's arguments, with everything said that a rule takes from its
        start.
    """
    since = "" if start is None else f", from {_moment(start)}"
    said = _by_cron(parts, tz)
    if said is None:
        return f"by the rule {rule}{since} ({tz})"
    return f"{said}{_bounds(parts)}{since} ({tz})"


def _by_cron(parts: Mapping[str, Any], tz: str) -> str | None:
    """The rule as cron's words say it, without the zone; None: they cannot."""
    if parts["freq"] > DAILY or parts.get("interval", 1) > 1:
        return None
    if any(parts.get(name) for name in _UNSAYABLE):
        return None
    days, weekdays = _days(parts.get("bymonthday")), _weekdays(parts)
    if days is None or weekdays is None:
        return None
    times = (_listed(parts[name]) for name in ("bysecond", "byminute", "byhour"))
    months = _listed(parts.get("bymonth"))
    try:
        calendar = cron_calendar(" ".join((*times, days, months, weekdays)), True)
    except CadenceInvalid:
        return None
    words = cron_words(calendar, tz)
    return None if words.startswith(_QUOTED) else words.removesuffix(f" ({tz})")


def _listed(values: Any) -> str:
    return ",".join(str(value) for value in values) if values else "*"


def _days(days: Any) -> str | None:
    if days and min(days) < 0:
        return "L" if set(days) == {-1} else None
    return _listed(days)


def _weekdays(parts: Mapping[str, Any]) -> str | None:
    found = []
    for day in parts.get("byweekday") or ():
        index = (getattr(day, "weekday", day) + 1) % 7
        number = getattr(day, "n", None)
        if number and parts["freq"] == YEARLY and not parts.get("bymonth"):
            # counted in the year, not in a month
            return None
        if number and not -1 <= number <= 5:
            return None
        place = "" if not number else "L" if number == -1 else f"#{number}"
        found.append(f"{index}{place}")
    return _listed(found)


def _bounds(parts: Mapping[str, Any]) -> str:
    count, until = parts.get("count"), parts.get("until")
    if count is not None:
        return ", once" if count == 1 else f", {count} times"
    return "" if until is None else f", until {_moment(until)}"


def _moment(local: datetime) -> str:
    return f"{local.date().isoformat()} {clock_words(local)}"
