"""History that has been kept long enough is removed, a batch at a time.

Only what was folded into the sums goes: no sum falls because of it, and the
schedule's high-water mark keeps a pruned due time from firing again.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Column, Connection, Table, delete, select

from flask_metronome.core.run import FINAL, AttemptState
from flask_metronome.models import (
    attempts,
    beats,
    groups,
    incidents,
    mutes,
    results,
    runs,
    unknown_periods,
    workers,
)
from flask_metronome.store import counters
from flask_metronome.store.upserts import rows_changed

_FINAL = sorted(state.value for state in FINAL)
#: How long the row of a process that is gone stays to be looked at.
GONE_DAYS = 1.0


def prune_runs(
    connection: Connection, *, batch: int, now: datetime, days: float
) -> int:
    """Delete final, folded runs that were due before that many days ago."""
    cutoff = now - timedelta(days=days)
    ids = connection.scalars(
        select(runs.c.id)
        .where(runs.c.due_at < cutoff, runs.c.counted, runs.c.state.in_(_FINAL))
        .order_by(runs.c.due_at)
        .limit(batch)
    ).all()
    if not ids:
        return 0
    unfolded = select(attempts.c.run_id).where(
        attempts.c.run_id.in_(ids), attempts.c.counted.is_(False)
    )
    # an attempt that is not folded needs its run's schedule: both wait a sweep
    waiting = set(connection.scalars(unfolded))
    gone = [run_id for run_id in ids if run_id not in waiting]
    connection.execute(delete(attempts).where(attempts.c.run_id.in_(gone)))
    return rows_changed(connection.execute(delete(runs).where(runs.c.id.in_(gone))))


def prune_plain_attempts(
    connection: Connection, *, batch: int, now: datetime, days: float
) -> int:
    """Delete ended attempts of tasks that no schedule started."""
    ids = connection.scalars(
        select(attempts.c.id)
        .where(
            attempts.c.run_id.is_(None),
            attempts.c.counted,
            attempts.c.state != AttemptState.RUNNING,
            attempts.c.started_at < now - timedelta(days=days),
        )
        .limit(batch)
    ).all()
    if not ids:
        return 0
    return rows_changed(
        connection.execute(delete(attempts).where(attempts.c.id.in_(ids)))
    )


def prune_results(
    connection: Connection, *, batch: int, now: datetime, days: float
) -> int:
    """Delete task results and saved groups that are older than that."""
    cutoff = now - timedelta(days=days)
    return _delete_older(
        connection, results, results.c.task_id, results.c.updated_at, cutoff, batch
    ) + _delete_older(
        connection, groups, groups.c.group_id, groups.c.done_at, cutoff, batch
    )


def prune_incidents(
    connection: Connection, *, batch: int, now: datetime, days: float
) -> int:
    """Delete incidents, mutes and unknown periods that were over before then."""
    cutoff = now - timedelta(days=days)
    ends = (
        (incidents, incidents.c.id, incidents.c.closed_at),
        (mutes, mutes.c.id, mutes.c.until_at),
        (unknown_periods, unknown_periods.c.id, unknown_periods.c.to_at),
    )
    return sum(
        _delete_older(connection, table, key, moment, cutoff, batch)
        for table, key, moment in ends
    )


def prune_processes(connection: Connection, *, batch: int, now: datetime) -> int:
    """Delete the rows of beats and workers that have long been gone.

    What they counted is added to what others did.
    """
    cutoff = now - timedelta(days=GONE_DAYS)
    gone = connection.execute(
        select(workers.c.id, workers.c.dropped)
        .where(workers.c.heartbeat_at < cutoff)
        .limit(batch)
        .with_for_update(skip_locked=True)
    ).all()
    dropped = sum(row.dropped for row in gone)
    counters.add(connection, {counters.CounterKey(counters.DROPPED, "", ""): dropped})
    connection.execute(delete(workers).where(workers.c.id.in_([r.id for r in gone])))
    old = connection.scalars(
        select(beats.c.id).where(beats.c.heartbeat_at < cutoff).limit(batch)
    ).all()
    counters.hand_over(connection, old)
    connection.execute(delete(beats).where(beats.c.id.in_(old)))
    return max(len(gone), len(old))


def _delete_older(
    connection: Connection,
    table: Table,
    key: Column[Any],
    moment: Column[datetime],
    cutoff: datetime,
    batch: int,
) -> int:
    ids = connection.scalars(select(key).where(moment < cutoff).limit(batch)).all()
    if not ids:
        return 0
    return rows_changed(connection.execute(delete(table).where(key.in_(ids))))
