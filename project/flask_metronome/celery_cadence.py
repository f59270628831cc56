"""Celery's schedule objects, and those of its kin, taken in as cadences."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from celery.schedules import crontab
from celery.schedules import schedule as interval
from celery.schedules import solar as celery_solar
from dateutil.rrule import FREQNAMES

from flask_metronome.core.cadence import (
    Cadence,
    Cron,
    cron,
    every,
    once,
    rrule,
    solar,
)
from flask_metronome.core.wall_clock import zone_name
from flask_metronome.errors import CadenceInvalid

_KNOWN = "a number of seconds, a timedelta, or a schedule of Celery or Metronome"
# Celery's name of each field of a crontab, in cron's order, with the field's bounds.
_FIELDS = (
    ("minute", 0, 59),
    ("hour", 0, 23),
    ("day_of_month", 1, 31),
    ("month_of_year", 1, 12),
    ("day_of_week", 0, 6),
)
_RULE_PARTS = {
    "interval": "INTERVAL",
    "count": "COUNT",
    "bysetpos": "BYSETPOS",
    "bymonth": "BYMONTH",
    "bymonthday": "BYMONTHDAY",
    "byyearday": "BYYEARDAY",
    "byweekno": "BYWEEKNO",
    "byhour": "BYHOUR",
    "byminute": "BYMINUTE",
    "bysecond": "BYSECOND",
}


def cadence_from_celery(schedule: object, *, tz: str | None = None) -> Cadence:
    """The cadence that fires when a Celery schedule is meant to.

    :param schedule: seconds, a timedelta, ``celery.schedules.schedule``, ``crontab``,
        ``solar``, a clocked schedule of django-celery-beat, an rrule of redbeat, or
        a cadence of ours, which comes back as it is.
    :param tz: the zone of a crontab or rrule; default: that of its Celery app.
    :raises CadenceInvalid: it is none of these, or has no counterpart.
    """
    if isinstance(schedule, Cadence):
        return schedule
    if isinstance(schedule, int | float | timedelta):
        return every(schedule)
    if isinstance(schedule, crontab):
        return _from_crontab(schedule, tz)
    if isinstance(schedule, celery_solar):
        return solar(schedule.event, float(schedule.lat), float(schedule.lon))
    return _from_look(schedule, tz)


def _from_look(schedule: Any, tz: str | None) -> Cadence:
    """What has no class of Celery's that could be asked for."""
    if isinstance(getattr(schedule, "clocked_time", None), datetime):
        return once(schedule.clocked_time)
    if hasattr(schedule, "freq") and hasattr(schedule, "byweekday"):
        return _from_rule(schedule, tz)
    if isinstance(schedule, interval):
        if not isinstance(schedule.run_every, timedelta):
            raise CadenceInvalid("run_every", "an interval", schedule.run_every)
        return every(schedule.run_every)
    raise CadenceInvalid("schedule", _KNOWN, schedule)


def _from_crontab(schedule: Any, tz: str | None) -> Cron:
    fields = [_field(schedule, *field) for field in _FIELDS]
    # Celery's crontab wants both the date and the weekday; cron takes either.
    both_days = "*" not in {fields[2], fields[4]}
    zone = tz if tz is not None else zone_name(schedule.tz)
    found = cron(" ".join(fields), zone, both_days=both_days)
    _check_same(found, schedule)
    return found


def _field(schedule: Any, name: str, low: int, high: int) -> str:
    """One field in cron's writing.

    What starts with ``*`` keeps it, because it then follows the wall clock; all else
    is written out, since Celery knows ranges over the end («fri-mon») and full names.
    """
    written = getattr(schedule, f"_orig_{name}")
    values = sorted(getattr(schedule, name))
    if len(values) == high - low + 1:
        return "*"
    if isinstance(written, str) and written.startswith("*"):
        return "".join(written.split())
    return ",".join(str(value) for value in values)


def _check_same(found: Cron, schedule: Any) -> None:
    """Refuse a crontab that cron's writing cannot say."""
    calendar = found.calendar
    pairs = (
        (set(calendar.minutes), schedule.minute),
        (set(calendar.hours), schedule.hour),
        (calendar.days, schedule.day_of_month),
        (calendar.months, schedule.month_of_year),
        ({_sunday_first(day) for day in calendar.weekdays}, schedule.day_of_week),
    )
    if any(ours != set(theirs) for ours, theirs in pairs):
        raise CadenceInvalid("schedule", "a crontab that cron can say", schedule)


def _sunday_first(day: int | tuple[int, int]) -> object:
    return day % 7 if isinstance(day, int) else day


def _from_rule(schedule: Any, tz: str | None) -> Cadence:
    if getattr(schedule, "byeaster", None) is not None:
        raise CadenceInvalid("schedule", "an rrule without BYEASTER", schedule)
    freq = schedule.freq
    name = FREQNAMES[freq] if isinstance(freq, int) else str(freq)
    parts = [f"FREQ={name}"]
    for attribute, part in _RULE_PARTS.items():
        value = getattr(schedule, attribute, None)
        if value is not None:
            parts.append(f"{part}={_joined(value)}")
    if schedule.byweekday is not None:
        parts.append(f"BYDAY={_joined(schedule.byweekday, _day)}")
    if getattr(schedule, "wkst", None) is not None:
        parts.append(f"WKST={_day(schedule.wkst)}")
    if getattr(schedule, "until", None) is not None:
        parts.append(f"UNTIL={_moment(schedule.until)}")
    zone = tz if tz is not None else zone_name(getattr(schedule, "tz", UTC))
    return rrule(";".join(parts), zone, getattr(schedule, "dtstart", None))


def _joined(value: Any, written: Any = str) -> str:
    several = isinstance(value, Iterable) and not isinstance(value, str)
    return ",".join(written(each) for each in (value if several else [value]))


def _day(day: Any) -> str:
    number = getattr(day, "n", None)
    index = getattr(day, "weekday", day)
    if not isinstance(index, int):
        return str(day)
    name = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")[index]
    return f"{number:+d}{name}" if number else name


def _moment(moment: datetime) -> str:
    if moment.utcoffset() is None:
        return f"{moment:%Y%m%dT%H%M%S}"
    return f"{moment.astimezone(UTC):%Y%m%dT%H%M%S}Z"
