"""Writes the schedules that were imported from another beat."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from flask_metronome.core.schedule import Definition, Schedule
from flask_metronome.errors import NotFound
from flask_metronome.store import schedules

#: Whose schedules these are.
OWNER = "import"


def as_declared(definition: Definition) -> dict[str, Any]:
    """A definition as it comes back from the database's JSON."""
    found: dict[str, Any] = json.loads(json.dumps(definition.to_dict()))
    return found


def find(connection: Connection, key: str, *, lock: bool) -> Schedule | None:
    """The schedule of that key, if there is one."""
    try:
        return schedules.get(connection, key, lock=lock)
    except NotFound:
        return None


def add(
    connection: Connection,
    definition: Definition,
    *,
    paused: str | None,
    who: str,
    now: datetime,
) -> Schedule:
    """Add what was not there; first due after ``now``, or paused from the start.

    :param paused: the reason to pause it; None: it is planned.
    """
    made = schedules.add(
        connection,
        definition,
        owner=OWNER,
        who=who,
        now=now,
        declared=as_declared(definition),
    )
    return _paused(connection, made, paused, who, now)


def change(
    connection: Connection,
    there: Schedule,
    definition: Definition,
    *,
    keep_edits: bool,
    paused: str | None,
    who: str,
    now: datetime,
) -> Schedule:
    """Say differently what is there; first due after ``now``.

    :param keep_edits: whether fields that were edited since the last import stay.
    :param paused: the reason to pause it; None: its state stays.
    :raises ScheduleInvalid: the edits do not fit what is imported now.
    """
    said = as_declared(definition)
    merged = definition
    if keep_edits and there.declared is not None:
        current = as_declared(there.definition)
        edited = {k: v for k, v in current.items() if v != there.declared.get(k)}
        merged = Definition.from_dict(said | edited)
    made = schedules.replace_definition(
        connection,
        there.key,
        merged,
        who=who,
        now=now,
        declared=said,
        owner=OWNER,
    )
    return _paused(connection, made, paused, who, now)


def _paused(
    connection: Connection,
    schedule: Schedule,
    reason: str | None,
    who: str,
    now: datetime,
) -> Schedule:
    if reason is None or schedule.state != "active":
        return schedule
    return schedules.pause(connection, schedule.key, reason=reason, who=who, now=now)
