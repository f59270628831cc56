"""Cadences in words for people: true and complete, else a quotation."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime


def listed(items: Sequence[str]) -> str:
    """«a», «a and b», «a, b and c»."""
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} and {items[-1]}"


def every_words(count: int, unit: str) -> str:
    """«every 10 seconds», «every day (UTC)»."""
    name = unit.removesuffix("s") if count == 1 else f"{count} {unit}"
    # A day here is 24 hours, on a clock that is never changed.
    zone = " (UTC)" if unit in {"days", "weeks"} else ""
    return f"every {name}{zone}"


def once_words(at: datetime) -> str:
    """«once, at 2026-03-08 07:00 (UTC)»."""
    return f"once, at {at.date().isoformat()} {clock_words(at)} (UTC)"


def clock_words(moment: datetime) -> str:
    """«07:00», with seconds and their parts only where they are not zero."""
    if moment.microsecond:
        return moment.time().isoformat(timespec="microseconds")
    return moment.strftime("%H:%M:%S" if moment.second else "%H:%M")


def solar_words(event: str, lat: float, lon: float) -> str:
    """«at sunset, seen from 52.52° N 13.41° E»."""
    north, east = "N" if lat >= 0 else "S", "E" if lon >= 0 else "W"
    name = event.replace("_", " ")
    return f"at {name}, seen from {abs(lat)}° {north} {abs(lon)}° {east}"
