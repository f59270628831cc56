"""The pure «when»: what every cadence can do, and how one is read back from JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import ClassVar, Protocol, runtime_checkable

from flask_metronome.core.after import After, after, after_from_dict
from flask_metronome.core.cron import Cron, cron, cron_from_dict
from flask_metronome.core.every import Every, every, every_from_dict
from flask_metronome.core.json import JSON
from flask_metronome.core.once import Once, once, once_from_dict
from flask_metronome.core.rrule import RRule, rrule, rrule_from_dict
from flask_metronome.core.solar import Solar, solar, solar_from_dict
from flask_metronome.errors import CadenceInvalid

__all__ = [
    "JSON",
    "KINDS",
    "After",
    "Cadence",
    "Cron",
    "Every",
    "Once",
    "RRule",
    "Solar",
    "after",
    "cadence_from_dict",
    "cron",
    "every",
    "once",
    "rrule",
    "solar",
]


@runtime_checkable
class Cadence(Protocol):
    """A line of instants in UTC; a frozen, hashable value without a clock."""

    kind: ClassVar[str]

    def next_after(self, moment: datetime) -> datetime | None:
        """The first instant strictly after ``moment``; None: never again."""

    def previous_at_or_before(self, moment: datetime) -> datetime | None:
        """The last instant at or before ``moment``; None: there was none."""

    def between(self, after: datetime, until: datetime) -> Iterator[datetime]:
        """Every instant with ``after < t <= until``, oldest first, lazily."""

    def latest_in(self, after: datetime, until: datetime) -> datetime | None:
        """The newest instant with ``after < t <= until``; None: there is none."""

    def count_between(
        self, after: datetime, until: datetime, limit: int | None = None
    ) -> int:
        """How many instants have ``after < t <= until``, at most ``limit``."""

    def to_dict(self) -> dict[str, JSON]:
        """As JSON that :func:`cadence_from_dict` reads back."""

    def words(self) -> str:
        """For people, e.g. «every weekday at 08:00 (Europe/Berlin)»."""


KINDS: dict[str, Callable[[Mapping[str, object]], Cadence]] = {
    "every": every_from_dict,
    "cron": cron_from_dict,
    "once": once_from_dict,
    "rrule": rrule_from_dict,
    "solar": solar_from_dict,
    "after": after_from_dict,
}
"""How each kind is read from JSON."""


def cadence_from_dict(found: object) -> Cadence:
    """Read what a cadence's ``to_dict`` wrote.

    :raises CadenceInvalid: it names the field that is missing, unknown or wrong.
    """
    if not isinstance(found, Mapping):
        raise CadenceInvalid("cadence", "an object with a kind", found)
    kind = found.get("kind")
    reader = KINDS.get(kind) if isinstance(kind, str) else None
    if reader is None:
        raise CadenceInvalid("kind", f"one of {', '.join(KINDS)}", kind)
    return reader(found)
