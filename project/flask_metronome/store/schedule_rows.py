"""A schedule as a row, and a row as a schedule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any

from sqlalchemy import Row

from flask_metronome.core.after import After
from flask_metronome.core.plan import miss_after
from flask_metronome.core.schedule import Definition, Schedule
from flask_metronome.errors import InputInvalid, ScheduleInvalid

FIELDS = tuple(f.name for f in fields(Definition))
_PROGRESS = tuple(f.name for f in fields(Schedule) if f.name != "definition")
_INSTANTS = ("next_due_at", "last_due_at", "paused_at", "created_at", "updated_at")


def load(row: Row[Any] | Mapping[str, Any]) -> Schedule:
    """A database row as a value.

    :raises ScheduleInvalid: when somebody wrote nonsense into the row by hand.
    :raises CadenceInvalid: the same of its cadence.
    """
    values: Any = row if isinstance(row, Mapping) else row._mapping
    definition = Definition.from_dict({name: values[name] for name in FIELDS})
    come = {name: values[name] for name in _PROGRESS}
    for name in _INSTANTS:
        if not isinstance(come[name], datetime | None):
            raise ScheduleInvalid(name, "an instant", come[name])
    return Schedule(definition=definition, **come)


def columns(definition: Definition) -> dict[str, Any]:
    """A definition as column values."""
    values = definition.to_dict()
    values["start_at"], values["end_at"] = definition.start_at, definition.end_at
    values["after_key"] = followed_key(definition)
    return values


def followed_key(definition: Definition) -> str | None:
    """The key of the schedule whose runs this one follows, if it does."""
    cadence = definition.cadence
    return cadence.schedule if isinstance(cadence, After) else None


def read_or_broken(row: Row[Any], definition: Definition) -> Schedule:
    """The row as a value; one that cannot be read as set aside, said like this."""
    try:
        return load(row)
    except InputInvalid:
        state = row.state if row.state in ("paused", "retired") else "broken"
        found = {name: row._mapping[name] for name in _PROGRESS} | {"state": state}
        wrong = (n for n in _INSTANTS if not isinstance(found[n], datetime | None))
        return Schedule(definition=definition, **(found | dict.fromkeys(wrong)))


def progress(schedule: Schedule) -> dict[str, Any]:
    """How far a schedule has come, as column values."""
    values = {name: getattr(schedule, name) for name in _PROGRESS}
    values["miss_after_at"] = miss_after(schedule, schedule.next_due_at)
    values["declared"] = (
        dict(schedule.declared) if schedule.declared is not None else None
    )
    return values
