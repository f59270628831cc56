"""Kinds of option values: JSON, instants, durations."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

import click

_DURATION = re.compile(r"(?P<count>\d+(?:\.\d+)?)\s*(?P<unit>[a-z]*)", re.IGNORECASE)
_UNITS = {
    "": "seconds",
    "ms": "milliseconds",
    "millisecond": "milliseconds",
    "s": "seconds",
    "sec": "seconds",
    "second": "seconds",
    "m": "minutes",
    "min": "minutes",
    "minute": "minutes",
    "h": "hours",
    "hour": "hours",
    "d": "days",
    "day": "days",
    "w": "weeks",
    "week": "weeks",
}
_SECONDS = {
    "milliseconds": 0.001,
    "seconds": 1.0,
    "minutes": 60.0,
    "hours": 3_600.0,
    "days": 86_400.0,
    "weeks": 604_800.0,
}


class JsonType(click.ParamType):  # type: ignore[type-arg]
    """JSON of one kind.

    :param kind: ``list`` or ``dict``.
    """

    name = "json"

    def __init__(self, kind: type) -> None:
        self._kind = kind

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Any:
        """Read it, or fail with a sentence."""
        if isinstance(value, self._kind):
            return value
        words = "a JSON object" if self._kind is dict else "a JSON list"
        try:
            found = json.loads(value)
        except ValueError:
            self.fail(f"expected {words}, got {value!r}", param, ctx)
        if not isinstance(found, self._kind):
            self.fail(f"expected {words}, got {value!r}", param, ctx)
        return found


class InstantType(click.ParamType):  # type: ignore[type-arg]
    """An instant in ISO 8601; without an offset it is UTC."""

    name = "instant"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """Read it, or fail with a sentence."""
        if isinstance(value, datetime):
            return value
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail(
                f"expected an instant like 2027-01-31T08:00:00Z, got {value!r}",
                param,
                ctx,
            )
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


class DurationType(click.ParamType):  # type: ignore[type-arg]
    """A duration like ``90``, ``10s``, ``5 min``, ``1.5h``; its seconds."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Read it, or fail with a sentence."""
        if isinstance(value, (int, float)):
            return float(value)
        found = count_and_unit(value)
        if found is None:
            self.fail(
                f"expected a duration like 10s or 5min, got {value!r}", param, ctx
            )
        return found[0] * _SECONDS[found[1]]


class StepType(click.ParamType):  # type: ignore[type-arg]
    """The step of an ``every``: its number and unit, as the cadence writes them."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, str]:
        """Read it, or fail with a sentence."""
        if isinstance(value, tuple):
            return value
        found = count_and_unit(value)
        if found is None:
            self.fail(f"expected a step like 10s or 5min, got {value!r}", param, ctx)
        return found


def count_and_unit(text: str) -> tuple[float, str] | None:
    """The number and the unit's full name; None when it is not a duration."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        return None
    written = match["unit"].lower()
    unit = _UNITS.get(written) or _UNITS.get(written.removesuffix("s"))
    if unit is None:
        return None
    count = float(match["count"])
    return (int(count) if count.is_integer() else count), unit


class QueueLaneType(click.ParamType):  # type: ignore[type-arg]
    """A queue of another beat and the lane that it becomes, ``queue=lane``."""

    name = "queue=lane"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        """Read it, or fail with a sentence."""
        if isinstance(value, tuple):
            return value
        queue, _, lane = value.rpartition("=")
        if not queue or not lane:
            self.fail(f"expected queue=lane, got {value!r}", param, ctx)
        return queue, lane
