"""Faults on request: the embedded broker misbehaving as a test's script says."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import Enum
from typing import Any

from metronome_broker.embedded.errors import InvalidFault


class Fate(Enum):
    """What a scripted fault does to one publish."""

    #: Not stored, answered with basic.nack.
    NACKED = "nack_publishes"
    #: Not stored, treated as if no queue were bound.
    RETURNED = "return_publishes"
    #: Not stored, and yet confirmed.
    LOST = "lose_publishes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One change to how the broker misbehaves; fields left out change nothing.

    Attributes:
        clear: first end every fault that is on.
        freeze: True to accept connections and bytes and answer nothing, as a stopped
            process does; False to go on.
        drop_connections: cut every connection now, without a word.
        nack_publishes: how many of the next publishes are refused.
        return_publishes: how many are unroutable.
        lose_publishes: how many are confirmed and forgotten.
        exchange: count only publishes to this exchange; Celery's own events and
            remote control publish too.
        confirm_delay: seconds each confirm is held back; 0 ends it.
        swallow_confirms: True to store publishes and confirm none.
        blocked: reason to send as connection.blocked, as an alarm does: publishes
            wait from here on; the empty string lifts it.
    """

    clear: bool = False
    freeze: bool | None = None
    drop_connections: bool = False
    nack_publishes: int | None = None
    return_publishes: int | None = None
    lose_publishes: int | None = None
    exchange: str | None = None
    confirm_delay: float | None = None
    swallow_confirms: bool | None = None
    blocked: str | None = None

    @classmethod
    def from_json(cls, body: object) -> Fault:
        """A fault as another process posts it.

        Raises:
            InvalidFault: no object, an unknown field, a wrong type or a negative.
        """
        if not isinstance(body, Mapping):
            raise InvalidFault(f"fault must be an object, not {type(body).__name__}")
        types = {each.name: str(each.type) for each in fields(cls)}
        for name, value in body.items():
            if name not in types:
                raise InvalidFault(
                    f"fault field {name!r} must be one of {', '.join(types)}"
                )
            _check(name, types[name].partition(" ")[0], value)
        return cls(**body)


class Faults:
    """The faults that are on now. Lives on the broker's loop.

    Attributes:
        frozen: True while nothing is read or answered.
        blocked: reason of the alarm that is on, empty for none.
    """

    def __init__(self) -> None:
        self._end_all()

    def _end_all(self) -> None:
        self.frozen = False
        self.blocked = ""
        self.confirm_delay = 0.0
        self.swallow_confirms = False
        self._left: dict[Fate, int] = {}
        self._exchange: dict[Fate, str | None] = {}

    def apply(self, fault: Fault) -> None:
        """Take over what the fault changes; connections are told by the broker."""
        if fault.clear:
            self._end_all()
        for name in ("confirm_delay", "swallow_confirms", "blocked"):
            if getattr(fault, name) is not None:
                setattr(self, name, getattr(fault, name))
        if fault.freeze is not None:
            self.frozen = fault.freeze
        for fate in Fate:
            count = getattr(fault, fate.value)
            if count is not None:
                self._left[fate] = count
                self._exchange[fate] = fault.exchange

    def fate_of_publish(self, exchange: str) -> Fate | None:
        """What happens to this publish; counts it."""
        for fate, left in self._left.items():
            if left > 0 and self._exchange[fate] in (None, exchange):
                self._left[fate] = left - 1
                return fate
        return None

    def as_json(self) -> dict[str, Any]:
        """What is on, in the fields of ``Fault``."""
        return {
            "freeze": self.frozen,
            "blocked": self.blocked,
            "confirm_delay": self.confirm_delay,
            "swallow_confirms": self.swallow_confirms,
            **{fate.value: self._left.get(fate, 0) for fate in Fate},
        }


def _check(name: str, wanted: str, value: object) -> None:
    types: dict[str, tuple[type, ...]] = {
        "bool": (bool,),
        "int": (int,),
        "float": (int, float),
        "str": (str,),
    }
    is_bool = isinstance(value, bool)
    if not isinstance(value, types[wanted]) or (is_bool and wanted != "bool"):
        raise InvalidFault(f"fault field {name!r} must be {wanted}, not {value!r}")
    if isinstance(value, (int, float)) and not (value >= 0 and math.isfinite(value)):
        raise InvalidFault(f"fault field {name!r} must be 0 or more, not {value!r}")
