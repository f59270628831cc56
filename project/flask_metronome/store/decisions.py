"""Writing down what was decided about due times: by a tick, or before an edit.

Whoever calls holds the schedules' row locks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection, delete, or_, select, update

from flask_metronome.core.plan import Occupancy, Plan, PlannedRun, plan
from flask_metronome.core.run import OPEN, RunState, SkippedReason
from flask_metronome.core.schedule import Schedule
from flask_metronome.models import runs, schedules
from flask_metronome.store.dialects import Row, insert_ignore
from flask_metronome.store.promotion import BACKFILL
from flask_metronome.store.run_rows import planned_row

Decided = Sequence[tuple[Schedule, Plan]]


def occupancy(connection: Connection, due: Iterable[Schedule]) -> dict[str, Occupancy]:
    """Who is open per concurrency key; asked only where a policy cares."""
    keys = {s.concurrency_key for s in due if s.definition.overlap != "allow"}
    occupied: dict[str, Occupancy] = {}
    if not keys:
        return occupied
    found = connection.execute(
        select(runs.c.concurrency_key, runs.c.id, runs.c.state)
        .where(
            runs.c.concurrency_key.in_(keys),
            runs.c.state.in_(OPEN),
            # a backfill's line waits beside the schedule, not in its way
            or_(runs.c.state != RunState.WAITING, ~runs.c.origin.startswith(BACKFILL)),
        )
        .order_by(runs.c.due_at)
    )
    for key, run, state in found:
        there = occupied.setdefault(key, Occupancy())
        (there.waiting if state == RunState.WAITING else there.active).append(run)
    return occupied


def record(
    connection: Connection, plans: Decided, rows: Sequence[Row], *, now: datetime
) -> set[str]:
    """Write the runs of these plans; ids of earlier runs that they cancelled.

    :param rows: the plans' runs as rows; one that is there already stays.
    """
    _forget_provisional(connection, plans)
    insert_ignore(connection, runs, rows)
    _supersede(connection, [run for _, p in plans for run in p.superseded], now)
    cancelled = [run for _, p in plans for run in p.cancelled]
    _cancel(connection, cancelled, now)
    return set(cancelled)


def settle(
    connection: Connection,
    schedule: Schedule,
    *,
    now: datetime,
    skipping: SkippedReason | None = None,
) -> Schedule:
    """Decide what is due by a definition that is about to change.

    A due time belongs to the definition in force when it was due: one that no
    beat has come to yet must not vanish with an edit. If it is on time it
    becomes a run; what was missed is recorded and not caught up, so that an
    edit fires nothing of the past.

    :param skipping: what is on time is skipped for that reason instead, since
        the schedule is being stopped.
    """
    while schedule.state == "active" and _is_due(schedule, now):
        decided = _plan_before_edit(connection, schedule, now, skipping)
        if decided is None or decided.last_due_at is None:
            break
        rows = [planned_row(schedule, run, now) for run in decided.runs]
        record(connection, [(schedule, decided)], rows, now=now)
        schedule = replace(
            schedule,
            next_due_at=decided.next_due_at,
            last_due_at=decided.last_due_at,
            runs_made=decided.runs_made,
        )
    return schedule


def _is_due(schedule: Schedule, now: datetime) -> bool:
    return schedule.next_due_at is not None and schedule.next_due_at <= now


def _plan_before_edit(
    connection: Connection,
    schedule: Schedule,
    now: datetime,
    skipping: SkippedReason | None,
) -> Plan | None:
    """The plan, or ``None`` when there can be none: an edit is how to repair that."""
    definition = replace(schedule.definition, catchup="none")
    # a skipped run gives way to nobody: others of its key are not its business
    there = Occupancy()
    if skipping is None:
        there = occupancy(connection, [schedule]).get(schedule.concurrency_key, there)
    try:
        decided = plan(replace(schedule, definition=definition), now, there)
    except Exception:
        return None
    if skipping is None:
        return decided
    return replace(
        decided,
        runs=tuple(_skipped(run, skipping) for run in decided.runs),
        superseded=(),
        cancelled=(),
        runs_made=schedule.runs_made,
    )


def _skipped(run: PlannedRun, reason: SkippedReason) -> PlannedRun:
    if not run.makes_work:
        return run
    return replace(run, state=RunState.SKIPPED, reason=reason)


def _forget_provisional(connection: Connection, plans: Decided) -> None:
    """The monitor's row for due times that are decided now.

    Not one for earlier due times: an edit by hand has moved past those, and
    that row is all that tells of them.
    """
    # asked first: there is hardly ever one, and this is the tick's hot path
    found = connection.execute(
        select(runs.c.id)
        .join(schedules, schedules.c.id == runs.c.schedule_id)
        .where(
            schedules.c.id.in_([schedule.id for schedule, _ in plans]),
            runs.c.due_at >= schedules.c.next_due_at,
            runs.c.provisional,
        )
    ).scalars()
    provisional = list(found)
    if provisional:
        connection.execute(delete(runs).where(runs.c.id.in_(provisional)))


def _supersede(connection: Connection, ids: Sequence[str], now: datetime) -> None:
    if not ids:
        return
    connection.execute(
        update(runs)
        .where(runs.c.id.in_(ids), runs.c.state == RunState.WAITING)
        .values(
            state=RunState.SKIPPED,
            reason=SkippedReason.OVERLAP,
            finished_at=now,
            updated_at=now,
        )
    )


def _cancel(connection: Connection, ids: Sequence[str], now: datetime) -> None:
    if not ids:
        return
    connection.execute(
        update(runs)
        .where(runs.c.id.in_(ids), runs.c.state.in_(OPEN))
        .values(
            state=RunState.CANCELLED,
            reason="cancel_previous",
            live_key=None,
            # the fence grows, so that a result of the cancelled body is refused
            fence=runs.c.fence + 1,
            finished_at=now,
            updated_at=now,
        )
    )
