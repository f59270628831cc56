"""Cron expressions in words for people.

The common shapes get a sentence; every other expression is quoted, never guessed at.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from cronsim import CronSim

from flask_metronome.core.cron_calendar import CronCalendar
from flask_metronome.core.words import listed

_WEEKDAYS = (
    "Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday",
)  # fmt: skip
_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August",
    "September", "October", "November", "December",
)  # fmt: skip
_ORDINALS = ("first", "second", "third", "fourth", "fifth")
_MOST_TIMES = 8
_ALL_DAYS = set(range(1, 32))
_ALL_WEEKDAYS = set(range(7))


def cron_words(calendar: CronCalendar, tz: str) -> str:
    """«every weekday at 08:00 (Europe/Berlin)»."""
    often, times, day = _often(calendar), _times(calendar), _days(calendar)
    if day is None or (often is None and times is None):
        return _quoted(calendar, tz)
    if often is None:
        said = f"{day} at {times}"
    else:
        said = often if day == "every day" else f"{often}, {day}"
    return f"{said} ({tz})"


def _quoted(calendar: CronCalendar, tz: str) -> str:
    fields = list(calendar.fields)
    if calendar.seconds == [0]:
        fields = fields[1:]
    star = any(field.startswith("*") for field in calendar.fields[3::2])
    both = ", day and weekday both matching" if calendar.both_days and not star else ""
    return f"cron {' '.join(fields).lower()}{both} ({tz})"


def _often(calendar: CronCalendar) -> str | None:
    """How often within the hours, where that is even."""
    seconds, minutes, hours = calendar.seconds, calendar.minutes, calendar.hours
    if len(hours) < 2 and len(minutes) < 2:
        return None
    all_hours, step = len(hours) == 24, _step(minutes, 60)
    if seconds != [0]:
        every = _every(_step(seconds, 60), "second")
        whole = all_hours and len(minutes) == 60
        return every if whole else None
    if step is not None and len(minutes) > 1:
        span = "" if all_hours else _span(hours, minutes[-1])
        return None if span is None else f"{_every(step, 'minute')}{span}"
    hour_step = _step(hours, 24)
    if hour_step is None or len(hours) < 2 or len(minutes) > _MOST_TIMES:
        return None
    every = _every(hour_step, "hour")
    return every if minutes == [0] else f"{every}, at {_minutes(minutes)}"


def _step(values: Sequence[int], size: int) -> int | None:
    """The step that goes evenly round from 0, e.g. 15 for 0, 15, 30, 45."""
    if len(values) == 0 or size % len(values):
        return None
    step = size // len(values)
    return step if list(values) == list(range(0, size, step)) else None


def _every(step: int | None, unit: str) -> str | None:
    if step is None:
        return None
    return f"every {unit}" if step == 1 else f"every {step} {unit}s"


def _span(hours: Sequence[int], last_minute: int) -> str | None:
    if list(hours) != list(range(hours[0], hours[-1] + 1)):
        return None
    return f" from {hours[0]:02}:00 to {hours[-1]:02}:{last_minute:02}"


def _minutes(minutes: Sequence[int]) -> str:
    name = "minute" if len(minutes) == 1 else "minutes"
    return f"{name} {listed([str(minute) for minute in minutes])}"


def _times(calendar: CronCalendar) -> str | None:
    """The times of day, where they are few."""
    parts = (calendar.hours, calendar.minutes, calendar.seconds)
    if len(parts[0]) * len(parts[1]) * len(parts[2]) > _MOST_TIMES:
        return None
    with_seconds = calendar.seconds != [0]
    return listed(
        [
            f"{hour:02}:{minute:02}" + (f":{second:02}" if with_seconds else "")
            for hour, minute, second in product(*parts)
        ]
    )


def _days(calendar: CronCalendar) -> str | None:
    """The days, with their months."""
    month = _months(calendar.months)
    any_date = calendar.days >= _ALL_DAYS
    weekdays = {_sunday_first(day) for day in calendar.weekdays}
    any_weekday = weekdays >= _ALL_WEEKDAYS
    enough = all if calendar.both_days else any
    if enough((any_date, any_weekday)):
        return "every day" if month is None else f"every day in {month}"
    dates = None if any_date else _dates(calendar.days, month)
    names = None if any_weekday else _weekdays(weekdays, month)
    if any_date or any_weekday:
        return names if any_date else dates
    if calendar.both_days or dates is None or names is None:
        return None
    return f"{dates} and also {names},"


def _months(months: set[int]) -> str | None:
    if len(months) == 12:
        return None
    return listed([_MONTHS[month - 1] for month in sorted(months)])


def _dates(days: set[int], month: str | None) -> str | None:
    of = month or "every month"
    if days == {CronSim.LAST}:
        return f"on the last day of {of}"
    if days == {CronSim.LAST_WEEKDAY}:
        return f"on the last weekday of {of}"
    if min(days) < 0:
        return None
    name = "day" if len(days) == 1 else "days"
    return f"on {name} {listed([str(day) for day in sorted(days)])} of {of}"


def _weekdays(weekdays: set[int | tuple[int, int]], month: str | None) -> str | None:
    where = "" if month is None else f" in {month}"
    if weekdays == {1, 2, 3, 4, 5}:
        return f"every weekday{where}"
    if weekdays == {0, 6}:
        return f"every Saturday and Sunday{where}"
    plain = sorted(day for day in weekdays if isinstance(day, int))
    placed = sorted(day for day in weekdays if isinstance(day, tuple))
    if placed and plain:
        return None
    if plain:
        monday_first = sorted(plain, key=lambda day: (day - 1) % 7)
        return f"every {listed([_WEEKDAYS[day] for day in monday_first])}{where}"
    names = [f"{_place(place)} {_WEEKDAYS[day]}" for day, place in placed]
    return f"on the {listed(names)} of {month or 'every month'}"


def _place(place: int) -> str:
    return "last" if place == CronSim.LAST else _ORDINALS[place - 1]


def _sunday_first(day: int | tuple[int, int]) -> int | tuple[int, int]:
    """Sunday may be written 7; here it is 0."""
    return day % 7 if isinstance(day, int) else (day[0] % 7, day[1])
