"""The cadence ``after``: no instants of its own, but the ends of another's runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from flask_metronome.core.instants import Instants
from flask_metronome.core.json import JSON, only_keys, text_of
from flask_metronome.core.run import FINAL
from flask_metronome.errors import CadenceInvalid

#: The ends that can be waited for.
STATES = tuple(sorted(state.value for state in FINAL))


@dataclass(frozen=True, kw_only=True, slots=True)
class After(Instants):
    """Due whenever a run of another schedule ends in one state.

    :param schedule: the other schedule's key.
    :param state: how its run must end.
    """

    kind: ClassVar[str] = "after"
    schedule: str
    state: str = "succeeded"

    def next_after(self, moment: datetime) -> datetime | None:
        """None: nobody knows when the other one ends."""
        return None

    def previous_at_or_before(self, moment: datetime) -> datetime | None:
        """None, likewise."""
        return None

    def to_dict(self) -> dict[str, JSON]:
        """As JSON."""
        return {"kind": self.kind, "schedule": self.schedule, "state": self.state}

    def words(self) -> str:
        """«after import succeeded»."""
        return f"after {self.schedule} {self.state.replace('_', ' ')}"


def after(schedule: str, *, state: str = "succeeded") -> After:
    """A cadence that follows another schedule: due when a run of it has ended.

    :param schedule: the other schedule's key; it may be added later.
    :param state: how its run must end, e.g. ``succeeded``, ``failed`` or ``missed``.
    :raises CadenceInvalid: no key, or no state in which a run can end.
    """
    if not isinstance(schedule, str) or not schedule:
        raise CadenceInvalid("schedule", "the key of another schedule", schedule)
    if state not in STATES:
        raise CadenceInvalid("state", "one of " + ", ".join(STATES), state)
    return After(schedule=schedule, state=state)


def after_from_dict(found: Mapping[str, object]) -> After:
    """Read what :meth:`After.to_dict` wrote.

    :raises CadenceInvalid: a field is missing, unknown or wrong.
    """
    only_keys(found, required=("schedule",), optional=("state",))
    return after(text_of(found, "schedule"), state=text_of(found, "state", "succeeded"))
