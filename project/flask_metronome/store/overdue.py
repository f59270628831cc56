"""Due times that no beat planned: noticed while every beat is dead.

A schedule past ``miss_after_at`` was not planned in time. The monitor writes
one provisional row for the whole span and lengthens it while it lasts. It
never moves the schedule: the first beat that returns deletes the provisional
row in its own transaction and decides the span by the catch-up policy.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, or_, select, update

from flask_metronome.core.plan import Occupancy, PlannedRun, plan
from flask_metronome.core.run import MissedReason, RunState
from flask_metronome.core.schedule import Schedule
from flask_metronome.models import runs, schedules
from flask_metronome.store.schedules import load
from flask_metronome.store.upserts import insert_new, rows_changed

_log = logging.getLogger(__name__)

#: From this many due times on, a span is counted anew only when it has grown
#: by a hundredth, so that a long outage of a fast cadence stays cheap.
_LONG = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class OverduePage:
    """What one page of overdue schedules came to.

    :param last_id: where the next page begins; ``None``: there is none.
    """

    written: int
    last_id: str | None


def record_overdue(
    connection: Connection, *, after_id: str, batch: int, now: datetime
) -> OverduePage:
    """Write or lengthen the provisional row of each overdue schedule of a page.

    The schedules' rows are locked, so that no beat plans one meanwhile; those
    that a beat has locked are left to it.
    """
    rows = connection.execute(
        select(schedules)
        .where(
            schedules.c.state == "active",
            schedules.c.miss_after_at < now,
            schedules.c.next_due_at.is_not(None),
            schedules.c.id > after_id,
        )
        .order_by(schedules.c.id)
        .limit(batch)
        .with_for_update(skip_locked=True)
    ).all()
    known = _provisional_rows(connection, [row.id for row in rows])
    written = sum(_record(connection, row, known.get(row.id), now) for row in rows)
    full = len(rows) == batch
    return OverduePage(written=written, last_id=rows[-1].id if full else None)


def settle_provisional(connection: Connection, *, batch: int, now: datetime) -> int:
    """Make final what no beat will decide any more; how many rows.

    A schedule that was paused, retired or moved on by an edit while it was
    overdue keeps what it missed until then.
    """
    rows = connection.execute(
        select(runs.c.id)
        .join(schedules, schedules.c.id == runs.c.schedule_id)
        .where(
            runs.c.counted.is_(False),
            runs.c.state == RunState.MISSED,
            runs.c.provisional,
            or_(
                schedules.c.state != "active",
                schedules.c.next_due_at > runs.c.missed_to,
            ),
        )
        .limit(batch)
    ).all()
    ids = [row.id for row in rows]
    if ids:
        connection.execute(
            update(runs)
            .where(runs.c.id.in_(ids), runs.c.provisional)
            .values(provisional=False, updated_at=now)
        )
    return len(ids)


def overdue_span(schedule: Schedule, now: datetime) -> PlannedRun | None:
    """The due times that are past their grace, as the beat's own plan sees them.

    Asked as if nothing were to be caught up: then the plan makes one row of it.
    """
    nothing = replace(schedule.definition, catchup="none", max_runs=None)
    decided = plan(replace(schedule, definition=nothing), now, Occupancy())
    return next((row for row in decided.runs if row.state is RunState.MISSED), None)


def _provisional_rows(connection: Connection, ids: Sequence[str]) -> dict[str, Any]:
    if not ids:
        return {}
    found = connection.execute(
        select(
            runs.c.id,
            runs.c.schedule_id,
            runs.c.missed_from,
            runs.c.missed_to,
            runs.c.missed_count,
            runs.c.updated_at,
        ).where(
            runs.c.schedule_id.in_(ids),
            runs.c.counted.is_(False),
            runs.c.state == RunState.MISSED,
            runs.c.provisional,
        )
    )
    return {row.schedule_id: row for row in found}


def _record(connection: Connection, row: Any, known: Any, now: datetime) -> int:
    if known is not None and not _is_worth_counting(known, now):
        return 0
    try:
        span = overdue_span(load(row), now)
    except Exception:
        # one bad row must not hide the others; a beat sets it aside as broken
        _log.exception("schedule %s cannot be judged", row.key)
        return 0
    if span is None:
        return 0
    if known is not None and known.id == span.id:
        return _lengthen(connection, known, span, now)
    return int(insert_new(connection, runs, _provisional(row, span, now)))


def _is_worth_counting(known: Any, now: datetime) -> bool:
    if known.missed_count < _LONG:
        return True
    return bool((now - known.updated_at) * 100 > known.updated_at - known.missed_from)


def _lengthen(
    connection: Connection, known: Any, span: PlannedRun, now: datetime
) -> int:
    if span.missed_count <= known.missed_count:
        return 0
    changed = connection.execute(
        update(runs)
        .where(
            runs.c.id == known.id,
            runs.c.provisional,
            runs.c.missed_count < span.missed_count,
        )
        .values(
            missed_to=span.missed_to,
            missed_count=span.missed_count,
            finished_at=now,
            updated_at=now,
        )
    )
    return rows_changed(changed)


def _provisional(row: Any, span: PlannedRun, now: datetime) -> dict[str, Any]:
    """The row of a span that nobody planned."""
    return {
        "id": span.id,
        "schedule_id": row.id,
        "schedule_key": row.key,
        "origin": span.origin,
        "due_at": span.due_at,
        "fires_at": span.fires_at,
        "state": RunState.MISSED,
        "reason": MissedReason.SCHEDULER_DOWN,
        "task": row.task,
        "lane": row.lane,
        "args": row.args,
        "kwargs": row.kwargs,
        "options": row.options,
        "revision": row.revision,
        "missed_from": span.missed_from,
        "missed_to": span.missed_to,
        "missed_count": span.missed_count,
        "grace_until": row.miss_after_at or span.grace_until,
        "late_after_seconds": span.late_after_seconds,
        "on_lost": row.on_lost,
        "concurrency_key": row.concurrency_key or row.id,
        "missed": True,
        "provisional": True,
        "finished_at": now,
        "updated_at": now,
    }
