"""The cadence ``once``: a single instant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from flask_metronome.core.instants import Instants, as_utc, parse_instant
from flask_metronome.core.json import JSON, only_keys
from flask_metronome.core.words import once_words


@dataclass(frozen=True, kw_only=True, slots=True)
class Once(Instants):
    """One instant, then never again.

    :param at: the instant, in UTC.
    """

    kind: ClassVar[str] = "once"
    at: datetime

    def next_after(self, moment: datetime) -> datetime | None:
        """The instant, if it is still to come."""
        return self.at if as_utc(moment, "moment") < self.at else None

    def previous_at_or_before(self, moment: datetime) -> datetime | None:
        """The instant, if it has come."""
        return self.at if as_utc(moment, "moment") >= self.at else None

    def to_dict(self) -> dict[str, JSON]:
        """As JSON."""
        return {"kind": self.kind, "at": self.at.isoformat()}

    def words(self) -> str:
        """«once, at 2026-03-08 07:00 (UTC)»."""
        return once_words(self.at)


def once(at: datetime) -> Once:
    """A cadence that fires one time.

    :param at: when, with a time zone.
    :raises CadenceInvalid: ``at`` has no time zone.
    """
    return Once(at=as_utc(at, "at"))


def once_from_dict(found: Mapping[str, object]) -> Once:
    """Read what :meth:`Once.to_dict` wrote.

    :raises CadenceInvalid: a field is missing, unknown or wrong.
    """
    only_keys(found, required=("at",))
    return once(parse_instant(found["at"], "at"))
