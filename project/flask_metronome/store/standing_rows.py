"""How schedules stand, in SQL: read, written, and what is missed right now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, bindparam, case, func, or_, select, update

from flask_metronome.core.incident import Standing, Thresholds
from flask_metronome.core.run import UNSTARTED, RunState
from flask_metronome.models import runs, schedules, standings
from flask_metronome.store.dialects import insert_ignore

_NAMES = tuple(field.name for field in fields(Standing))
_UNSTARTED = sorted(state.value for state in UNSTARTED)


@dataclass(frozen=True, kw_only=True, slots=True)
class Watched:
    """A schedule, as far as its incidents go."""

    id: str
    key: str
    lane: str
    thresholds: Thresholds


@dataclass(frozen=True, kw_only=True, slots=True)
class Pending:
    """What a schedule misses right now, its runs not ended."""

    count: int
    since: datetime
    last_due_at: datetime
    run: str
    reason: str | None


def watched(connection: Connection, ids: Iterable[str]) -> dict[str, Watched]:
    """The schedules of these ids."""
    ids = list(ids)
    if not ids:
        return {}
    rows = connection.execute(
        select(
            schedules.c.id,
            schedules.c.key,
            schedules.c.lane,
            schedules.c.bad_in_a_row,
            schedules.c.good_to_close,
        ).where(schedules.c.id.in_(ids))
    )
    return {
        row.id: Watched(
            id=row.id,
            key=row.key,
            lane=row.lane,
            thresholds=Thresholds(
                bad_in_a_row=row.bad_in_a_row, good_to_close=row.good_to_close
            ),
        )
        for row in rows
    }


def read(connection: Connection, ids: Iterable[str]) -> dict[str, Standing]:
    """How these stand; one that never had a run that ended is not there."""
    ids = list(ids)
    if not ids:
        return {}
    rows = connection.execute(select(standings).where(standings.c.schedule_id.in_(ids)))
    return {row.schedule_id: _loaded(row) for row in rows}


def write(connection: Connection, changed: Mapping[str, Standing]) -> None:
    """Write how these stand now."""
    if not changed:
        return
    rows = [
        {name: getattr(standing, name) for name in _NAMES}
        | {
            "schedule_id": schedule,
            "flips": [moment.isoformat() for moment in standing.flips],
        }
        for schedule, standing in sorted(changed.items())
    ]
    insert_ignore(connection, standings, rows)
    connection.execute(
        update(standings)
        .where(standings.c.schedule_id == bindparam("of"))
        .values({name: bindparam(f"new_{name}") for name in _NAMES}),
        [
            {"of": row["schedule_id"]} | {f"new_{name}": row[name] for name in _NAMES}
            for row in rows
        ],
    )


def pending(connection: Connection) -> dict[str, Pending]:
    """What is missed by now: planned by nobody, or not published in its grace."""
    covered = case((runs.c.missed_from.is_not(None), runs.c.missed_count), else_=1)
    provisional = and_(runs.c.state == RunState.MISSED, runs.c.provisional)
    unsent = and_(runs.c.state.in_(_UNSTARTED), runs.c.missed)
    rows = connection.execute(
        select(
            runs.c.schedule_id,
            func.sum(covered).label("due_times"),
            func.min(runs.c.due_at).label("since"),
            func.max(func.coalesce(runs.c.missed_to, runs.c.due_at)).label("last"),
            func.max(runs.c.id).label("run"),
            func.max(runs.c.reason).label("reason"),
        )
        .where(runs.c.counted.is_(False), or_(provisional, unsent))
        .group_by(runs.c.schedule_id)
    )
    return {
        row.schedule_id: Pending(
            count=int(row.due_times),
            since=row.since,
            last_due_at=row.last,
            run=row.run,
            reason=row.reason,
        )
        for row in rows
    }


def pending_before(connection: Connection) -> dict[str, int]:
    """How many were missed at the last look, where it was not none."""
    rows = connection.execute(
        select(standings.c.schedule_id, standings.c.pending).where(
            standings.c.pending > 0
        )
    )
    return {row.schedule_id: row.pending for row in rows}


def _loaded(row: Any) -> Standing:
    values = {name: row._mapping[name] for name in _NAMES}
    values["flips"] = tuple(datetime.fromisoformat(text) for text in row.flips)
    return Standing(**values)
