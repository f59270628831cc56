"""Cadences in words for people. Each sentence says all of it, or quotes it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime


def every_words(count: int, unit: str) -> str:
    """«every 10 seconds», «every day (UTC)»."""
    name = unit.removesuffix("s") if count == 1 else f"{count} {unit}"
    zone = " (UTC)" if unit in {"days", "weeks"} else ""
    return f"every {name}{zone}"


def once_words(at: datetime) -> str:
    """«once, at 2026-03-08 07:00 (UTC)»."""
    shape = "%H:%M" if not (at.second or at.microsecond) else "%H:%M:%S"
    return f"once, at {at.date().isoformat()} {at.strftime(shape)} (UTC)"


def cron_words(fields: Sequence[str], tz: str) -> str:
    """«every weekday at 08:00 (Europe/Berlin)»."""
    return f"cron {' '.join(fields).lower()} ({tz})"


def solar_words(event: str, lat: float, lon: float) -> str:
    """«at sunset, seen from 52.52° N 13.41° E»."""
    north, east = "N" if lat >= 0 else "S", "E" if lon >= 0 else "W"
    name = event.replace("_", " ")
    return f"at {name}, seen from {abs(lat):g}° {north} {abs(lon):g}° {east}"


def rrule_words(rule: str, start: datetime | None, tz: str) -> str:
    """«by the rule FREQ=…»."""
    since = "" if start is None else f", from {start:%Y-%m-%d %H:%M}"
    return f"by the rule {rule}{since} ({tz})"
