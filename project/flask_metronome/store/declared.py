"""Keeps the schedules that code declares and the database in step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, select

from flask_metronome.core.schedule import Definition
from flask_metronome.errors import AlreadyExists
from flask_metronome.models import schedules
from flask_metronome.store import audit
from flask_metronome.store import schedules as schedule_store
from flask_metronome.store.schedule_rows import FIELDS


@dataclass(frozen=True, kw_only=True, slots=True)
class SyncReport:
    """What a sync did, as schedule keys."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    retired: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()


def sync(
    connection: Connection,
    definitions: Mapping[str, Definition],
    *,
    owner: str,
    now: datetime,
) -> SyncReport:
    """Bring the schedules that code declares into the database.

    What the code no longer declares is retired, not deleted. A field that was
    edited by hand or by the API since it was declared keeps the edited value;
    ``declared`` holds what the code says, so the difference can be shown.
    """
    there = _owned(connection, owner, definitions)
    added, changed, kept = [], [], []
    for key, definition in definitions.items():
        row = there.get(key)
        if row is None:
            _add_declared(connection, definition, owner, now)
            added.append(key)
        elif _redeclare(connection, row, definition, owner, now):
            changed.append(key)
        else:
            kept.append(key)
    gone = [
        key
        for key, row in there.items()
        if key not in definitions and row.owner == owner and row.state != "retired"
    ]
    for key in gone:
        schedule_store.retire(connection, there[key], now=now)
        audit.note(
            connection, now=now, who=owner, action="schedule.retire", subject=key
        )
    return SyncReport(
        added=tuple(added),
        changed=tuple(changed),
        retired=tuple(gone),
        kept=tuple(kept),
    )


def _owned(
    connection: Connection, owner: str, definitions: Mapping[str, Definition]
) -> dict[str, Row[Any]]:
    rows = connection.execute(
        select(schedules)
        .where((schedules.c.owner == owner) | schedules.c.key.in_(list(definitions)))
        .order_by(schedules.c.key)
        .with_for_update()
    )
    return {row.key: row for row in rows}


def _add_declared(
    connection: Connection, definition: Definition, owner: str, now: datetime
) -> None:
    try:
        schedule_store.add(
            connection,
            definition,
            owner=owner,
            who=owner,
            now=now,
            declared=definition.to_dict(),
        )
    except AlreadyExists:
        # another process synced the same code a moment ago
        return


def _redeclare(
    connection: Connection,
    row: Row[Any],
    definition: Definition,
    owner: str,
    now: datetime,
) -> bool:
    said = definition.to_dict()
    if row.declared == said and row.state not in ("retired", "broken"):
        return False
    merged = said
    if row.declared is not None and row.state != "retired":
        current = {name: _plain(row._mapping[name]) for name in FIELDS}
        # a field that this release is the first to have was not edited
        told = row.declared
        edited = {k: v for k, v in current.items() if k in told and v != told[k]}
        merged = said | edited
    schedule_store.replace_definition(
        connection,
        row.key,
        Definition.from_dict(merged),
        who=owner,
        now=now,
        declared=said,
        owner=owner,
    )
    return True


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value
