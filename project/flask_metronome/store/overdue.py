"""Due times that no beat planned: noticed while every beat is dead.

A schedule past ``miss_after_at`` was not planned in time. The monitor writes
one provisional row for the whole span and lengthens it while it lasts. It
never moves the schedule: the first beat that returns deletes the provisional
row in its own transaction and decides the span by the catch-up policy.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, or_, select, update

from flask_metronome.core.plan import Occupancy, PlannedRun, plan
from flask_metronome.core.run import MissedReason, RunState
from flask_metronome.core.schedule import Schedule
from flask_metronome.models import runs, schedules
from flask_metronome.store.dialects import insert_ignore
from flask_metronome.store.schedule_rows import load
from flask_metronome.store.upserts import rows_changed

_log = logging.getLogger(__name__)

#: From this many due times on, a span is counted anew only when it has grown
#: by a hundredth, so that a long outage of a fast cadence stays cheap.
_LONG = 1000
#: So many overdue schedules are looked over for each one that may be written.
_SCAN = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class OverduePage:
    """What one page of overdue schedules came to.

    :param last_id: where the next page begins; ``None``: there is none.
    """

    written: int
    last_id: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """The due times of a schedule that are past their grace.

    :param run: the row that stands for them; ``None``: there are none.
    :param grows_at: nothing is added to them before; ``None``: who knows.
    """

    run: PlannedRun | None
    grows_at: datetime | None


@dataclass(kw_only=True, slots=True)
class Recounts:
    """When a schedule's span is worth counting again, in the monitor's memory.

    Without it every sweep would plan every overdue schedule, however many.
    """

    #: schedule id → its next due time and revision as they were, and that instant
    _at: dict[str, tuple[datetime, int, datetime]] = field(default_factory=dict)

    def is_due(self, row: Any, now: datetime) -> bool:
        """Whether a schedule must be looked at now."""
        known = self._at.get(row.id)
        as_before = known is not None and known[:2] == (row.next_due_at, row.revision)
        return known is None or not as_before or now > known[2]

    def put_off(self, row: Any, until: datetime | None) -> None:
        """Not before then."""
        if until is None:
            self._at.pop(row.id, None)
        else:
            self._at[row.id] = (row.next_due_at, row.revision, until)

    def forget_but(self, ids: set[str]) -> None:
        """Drop what is not overdue any more."""
        for gone in self._at.keys() - ids:
            del self._at[gone]


def record_overdue(
    connection: Connection,
    *,
    after_id: str,
    batch: int,
    now: datetime,
    recounts: Recounts,
    seen: set[str],
) -> OverduePage:
    """Write or lengthen the provisional row of each overdue schedule of a page.

    The schedules' rows are locked, so that no beat plans one meanwhile; those
    that a beat has locked are left to it.

    :param seen: gets the ids of the schedules that are overdue.
    """
    overdue = and_(
        schedules.c.state == "active",
        schedules.c.miss_after_at < now,
        schedules.c.next_due_at.is_not(None),
    )
    page = connection.execute(
        select(schedules.c.id, schedules.c.next_due_at, schedules.c.revision)
        .where(overdue, schedules.c.id > after_id)
        .order_by(schedules.c.id)
        .limit(batch * _SCAN)
    ).all()
    full = len(page) == batch * _SCAN
    due = [row.id for row in page if recounts.is_due(row, now)]
    last_id = page[-1].id if full else None
    if len(due) > batch:
        last_id = due[batch - 1]
    seen.update(row.id for row in page)
    due = due[:batch]
    if not due:
        return OverduePage(written=0, last_id=last_id)
    rows = connection.execute(
        select(schedules)
        .where(overdue, schedules.c.id.in_(due))
        .order_by(schedules.c.id)
        .with_for_update(skip_locked=True)
    ).all()
    return OverduePage(
        written=_record(connection, rows, recounts, now), last_id=last_id
    )


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


def overdue_span(schedule: Schedule, now: datetime) -> Span:
    """The due times that are past their grace, as the beat's own plan sees them.

    Asked as if nothing were to be caught up: then the plan makes one row of it.
    """
    nothing = replace(schedule.definition, catchup="none", max_runs=None)
    decided = plan(replace(schedule, definition=nothing), now, Occupancy())
    missed = (run for run in decided.runs if run.state is RunState.MISSED)
    # what is due and in its grace comes next, then what is not due yet
    ends = [run.grace_until for run in decided.runs if run.state is not RunState.MISSED]
    if decided.miss_after_at is not None:
        ends.append(decided.miss_after_at)
    return Span(run=next(missed, None), grows_at=min(ends, default=None))


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


def _record(
    connection: Connection, rows: Sequence[Any], recounts: Recounts, now: datetime
) -> int:
    known = _provisional_rows(connection, [row.id for row in rows])
    fresh, written = [], 0
    for row in rows:
        there = known.get(row.id)
        if there is not None and not _is_worth_counting(there, now):
            continue
        try:
            span = overdue_span(load(row), now)
        except Exception:
            # one bad row must not hide the others; a beat sets it aside as broken
            _log.exception("schedule %s cannot be judged", row.key)
            continue
        recounts.put_off(row, span.grows_at)
        if span.run is None:
            continue
        if there is not None and there.id == span.run.id:
            written += _lengthen(connection, there, span.run, now)
        else:
            fresh.append(_provisional(row, span.run, now))
    insert_ignore(connection, runs, fresh)
    return written + len(fresh)


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
