"""The cadence ``every``: a grid in elapsed UTC time that never drifts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import ClassVar

from flask_metronome.core.instants import Instants, as_utc, at_most, parse_instant
from flask_metronome.core.json import JSON, only_keys
from flask_metronome.core.words import every_words
from flask_metronome.errors import CadenceInvalid

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

UNITS: dict[str, int] = {
    "weeks": 604_800_000_000,
    "days": 86_400_000_000,
    "hours": 3_600_000_000,
    "minutes": 60_000_000,
    "seconds": 1_000_000,
    "milliseconds": 1_000,
    "microseconds": 1,
}
"""Microseconds of each unit, largest first."""

#: Beyond it a count is no number that can be reckoned with.
_MOST = 1e18
LONGEST = 100 * 366 * UNITS["days"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Every(Instants):
    """Every so many microseconds from ``anchor`` on, and before it.

    :param microseconds: the step of the grid.
    :param anchor: an instant on the grid; None: the epoch.
    """

    kind: ClassVar[str] = "every"
    microseconds: int
    anchor: datetime | None = None

    def next_after(self, moment: datetime) -> datetime | None:
        """The first instant strictly after ``moment``; None past the year 9999."""
        return self._instant(self._index(moment) + 1)

    def previous_at_or_before(self, moment: datetime) -> datetime | None:
        """The last instant at or before ``moment``; None before the year 1."""
        return self._instant(self._index(moment))

    def count_between(
        self, after: datetime, until: datetime, limit: int | None = None
    ) -> int:
        """How many instants have ``after < t <= until``; by division, not a walk."""
        return at_most(max(self._index(until) - self._index(after), 0), limit)

    def anchored_at(self, start: datetime | None) -> Every:
        """The same step on the grid of ``start``, unless it has an anchor already."""
        if start is None or self.anchor is not None:
            return self
        return replace(self, anchor=as_utc(start, "start_at"))

    def to_dict(self) -> dict[str, JSON]:
        """As JSON, in the largest unit that divides the step."""
        count, unit = self._count_and_unit()
        found: dict[str, JSON] = {"kind": self.kind, "every": count, "unit": unit}
        if self.anchor is not None:
            found["anchor"] = self.anchor.isoformat()
        return found

    def words(self) -> str:
        """«every 10 seconds», «every day (UTC)»."""
        return every_words(*self._count_and_unit())

    def _count_and_unit(self) -> tuple[int, str]:
        for unit, size in UNITS.items():
            if self.microseconds % size == 0:
                return self.microseconds // size, unit
        raise AssertionError("a microsecond divides every whole number")

    def _index(self, moment: datetime) -> int:
        since = as_utc(moment, "moment") - (self.anchor or EPOCH)
        return since // _MICROSECOND // self.microseconds

    def _instant(self, index: int) -> datetime | None:
        try:
            step = timedelta(microseconds=index * self.microseconds)
            return (self.anchor or EPOCH) + step
        except OverflowError:
            return None


def every(
    count: float | timedelta, unit: str = "seconds", *, anchor: datetime | None = None
) -> Every:
    """A cadence that fires every ``count`` units of elapsed time.

    :param count: a number, or a timedelta (then ``unit`` is not looked at).
    :param unit: microseconds, milliseconds, seconds, minutes, hours, days or weeks;
        singular works too.
    :param anchor: an instant on the grid; without one, a schedule's ``start_at``,
        else the epoch.
    :raises CadenceInvalid: the step is not above zero, or the unit is unknown.
    """
    micros = _microseconds(count, unit)
    if not 0 < micros <= LONGEST:
        raise CadenceInvalid("every", "a step from 1 microsecond to 100 years", count)
    fixed = None if anchor is None else as_utc(anchor, "anchor")
    return Every(microseconds=micros, anchor=fixed)


def _microseconds(count: object, unit: object) -> int:
    if isinstance(count, timedelta):
        return count // _MICROSECOND
    if not isinstance(unit, str) or _plural(unit) not in UNITS:
        raise CadenceInvalid("unit", f"one of {', '.join(UNITS)}", unit)
    if isinstance(count, bool) or not isinstance(count, int | float):
        raise CadenceInvalid("every", "a number above zero", count)
    if not abs(count) < _MOST:
        raise CadenceInvalid("every", "a finite number above zero", count)
    return round(count * UNITS[_plural(unit)])


def _plural(unit: str) -> str:
    return unit if unit.endswith("s") else f"{unit}s"


def every_from_dict(found: Mapping[str, object]) -> Every:
    """Read what :meth:`Every.to_dict` wrote.

    :raises CadenceInvalid: a field is missing, unknown or wrong.
    """
    only_keys(found, required=("every",), optional=("unit", "anchor"))
    count, anchor = found["every"], found.get("anchor")
    if isinstance(count, bool) or not isinstance(count, int | float):
        raise CadenceInvalid("every", "a number above zero", count)
    unit = found.get("unit", "seconds")
    fixed = None if anchor is None else parse_instant(anchor, "anchor")
    return every(count, unit, anchor=fixed)  # type: ignore[arg-type]
