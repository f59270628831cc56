"""History that has been kept long enough is removed, a batch at a time.

Only what was folded into the sums goes: no sum falls because of it, and the
schedule's high-water mark keeps a pruned due time from firing again.
"""

from __future__ import annotations

from datetime import datetime, timedelta

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
    workers,
)
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
    """Delete incidents and mutes that were over before that many days ago."""
    cutoff = now - timedelta(days=days)
    return _delete_older(
        connection, incidents, incidents.c.id, incidents.c.closed_at, cutoff, batch
    ) + _delete_older(connection, mutes, mutes.c.id, mutes.c.until_at, cutoff, batch)


def prune_processes(connection: Connection, *, batch: int, now: datetime) -> int:
    """Delete the rows of beats and workers that have long been gone."""
    cutoff = now - timedelta(days=GONE_DAYS)
    return _delete_older(
        connection, beats, beats.c.id, beats.c.heartbeat_at, cutoff, batch
    ) + _delete_older(
        connection, workers, workers.c.id, workers.c.heartbeat_at, cutoff, batch
    )


def _delete_older(
    connection: Connection,
    table: Table,
    key: Column[str],
    moment: Column[datetime],
    cutoff: datetime,
    batch: int,
) -> int:
    ids = connection.scalars(select(key).where(moment < cutoff).limit(batch)).all()
    if not ids:
        return 0
    return rows_changed(connection.execute(delete(table).where(key.in_(ids))))
