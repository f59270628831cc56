"""What the monitor judges about runs that exist: missed, late, overrun, stuck.

Each function is one bounded, repeatable step inside the caller's transaction
and says how many rows it changed. Every change is a compare-and-set: a worker
or a beat that came first wins.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    case,
    exists,
    false,
    func,
    literal,
    or_,
    select,
    update,
)

from flask_metronome.core.heartbeat import BEAT_UP_SECONDS
from flask_metronome.core.longest_runtime import (
    LEAST_SECONDS,
    SAMPLES,
    usual_longest_seconds,
)
from flask_metronome.core.run import UNSTARTED, AttemptState, MissedReason, RunState
from flask_metronome.models import attempts, beats, runs, workers
from flask_metronome.store.upserts import comparable, plus_seconds, rows_changed

#: A run that is released to the outbox after its grace is given this long.
RELEASED_SECONDS = 30.0
#: Stuck: so many times its longest runtime, and its worker still lists it.
STUCK_FACTOR = 2.0
#: So many of a schedule's newest runs are looked at for its usual runtime.
_FAR_ENOUGH = 500

_UNSTARTED = sorted(state.value for state in UNSTARTED)


def flag_unpublished(connection: Connection, *, batch: int, now: datetime) -> int:
    """Flag runs whose grace is over without one confirmed publish.

    They stay ``planned``: the outbox goes on trying.
    """
    waited = now - timedelta(seconds=RELEASED_SECONDS)
    condition = and_(
        runs.c.state == RunState.PLANNED,
        runs.c.missed.is_(False),
        runs.c.published_at.is_(None),
        runs.c.grace_until < now,
        # one that had to wait for its turn, or is released slowly, is on time
        or_(
            runs.c.publish_after.is_(None),
            runs.c.publish_after <= runs.c.grace_until,
            runs.c.publish_after < waited,
            runs.c.publish_tries > 0,
        ),
    )
    said = func.lower(runs.c.publish_error)
    unroutable = or_(said.like("%unroutable%"), said.like("%no_route%"))
    # it was planned, by a beat that died then or by the monitor, and nobody was
    # there to try: the broker has nothing to do with it
    untried = and_(runs.c.publish_error.is_(None), runs.c.publish_tries == 0)
    nobody = false() if _any_beat(connection, now) else untried
    reason = case(
        (or_(runs.c.catchup, nobody), MissedReason.SCHEDULER_DOWN.value),
        (unroutable, MissedReason.UNROUTABLE.value),
        else_=MissedReason.PUBLISH_FAILED.value,
    )
    return _set(connection, condition, batch, now, missed=True, reason=reason)


def _any_beat(connection: Connection, now: datetime) -> bool:
    """Whether a beat lives."""
    since = now - timedelta(seconds=BEAT_UP_SECONDS)
    alive = and_(beats.c.heartbeat_at >= since, beats.c.stopped_at.is_(None))
    return bool(connection.scalar(select(exists().where(alive))))


def expire(connection: Connection, *, batch: int, now: datetime) -> int:
    """End runs whose start deadline is over before any start."""
    condition = and_(
        runs.c.state.in_(_UNSTARTED),
        runs.c.deadline_at < now,
        runs.c.started_at.is_(None),
    )
    # a run that was missed for another reason keeps it: its first cause counts
    reason = case(
        (and_(runs.c.missed, runs.c.reason.is_not(None)), runs.c.reason),
        else_=literal(MissedReason.EXPIRED.value),
    )
    return _set(
        connection,
        condition,
        batch,
        now,
        state=RunState.EXPIRED,
        missed=True,
        reason=reason,
        finished_at=now,
        live_key=None,
    )


def flag_late(connection: Connection, *, batch: int, now: datetime) -> int:
    """Flag runs that should have started by now and have not."""
    dialect = connection.dialect.name
    limit = plus_seconds(dialect, runs.c.fires_at, runs.c.late_after_seconds)
    condition = and_(
        runs.c.state.in_(_UNSTARTED),
        runs.c.late.is_(False),
        runs.c.fires_at < now,
        limit < comparable(dialect, now),
    )
    return _set(connection, condition, batch, now, late=True)


def set_longest_runtimes(connection: Connection, *, batch: int, now: datetime) -> int:
    """Give long-running runs without a longest runtime the usual one.

    Written into the run, so that what it is judged by can be seen and stays.
    """
    rows = connection.execute(
        select(runs.c.id, runs.c.schedule_id)
        .where(
            runs.c.state == RunState.STARTED,
            runs.c.max_runtime_seconds.is_(None),
            runs.c.started_at < now - timedelta(seconds=LEAST_SECONDS),
        )
        .order_by(runs.c.started_at)
        .limit(batch)
    ).all()
    usual = {
        schedule: usual_longest_seconds(_last_runtimes(connection, schedule))
        for schedule in {row.schedule_id for row in rows}
    }
    changed = 0
    for row in rows:
        if (seconds := usual[row.schedule_id]) is not None:
            unset = runs.c.max_runtime_seconds.is_(None)
            changed += _set_ids(
                connection, [row.id], unset, now, max_runtime_seconds=seconds
            )
    return changed


def _last_runtimes(connection: Connection, schedule_id: str) -> list[float]:
    # bounded: one that has failed for a year is not read back to its last success
    newest = (
        select(runs.c.state, runs.c.runtime_seconds, runs.c.due_at)
        .where(runs.c.schedule_id == schedule_id)
        .order_by(runs.c.due_at.desc())
        .limit(_FAR_ENOUGH)
        .subquery()
    )
    found = connection.scalars(
        select(newest.c.runtime_seconds)
        .where(
            newest.c.state == RunState.SUCCEEDED, newest.c.runtime_seconds.is_not(None)
        )
        .order_by(newest.c.due_at.desc())
        .limit(SAMPLES)
    )
    return list(found)


def flag_overrun(connection: Connection, *, batch: int, now: datetime) -> int:
    """Flag runs that have been running for longer than their longest runtime."""
    dialect = connection.dialect.name
    limit = plus_seconds(dialect, runs.c.started_at, runs.c.max_runtime_seconds)
    condition = and_(
        runs.c.state == RunState.STARTED,
        runs.c.overrun.is_(False),
        runs.c.max_runtime_seconds.is_not(None),
        limit < comparable(dialect, now),
    )
    return _set(connection, condition, batch, now, overrun=True)


def flag_stuck(
    connection: Connection, *, batch: int, now: datetime, lease_seconds: float
) -> int:
    """Flag overrun runs that their live worker still lists."""
    dialect = connection.dialect.name
    limit = plus_seconds(
        dialect, runs.c.started_at, runs.c.max_runtime_seconds * STUCK_FACTOR
    )
    alive_since = now - timedelta(seconds=3 * lease_seconds)
    rows = connection.execute(
        select(runs.c.id, attempts.c.task_id, workers.c.active)
        .join(attempts, attempts.c.run_id == runs.c.id)
        .join(workers, workers.c.id == attempts.c.worker_id)
        .where(
            runs.c.state == RunState.STARTED,
            runs.c.overrun,
            runs.c.stuck.is_(False),
            attempts.c.state == AttemptState.RUNNING,
            attempts.c.fence == runs.c.fence,
            workers.c.heartbeat_at >= alive_since,
            workers.c.stopped_at.is_(None),
            limit < comparable(dialect, now),
        )
        .limit(batch)
    ).all()
    ids = [row.id for row in rows if row.task_id in row.active]
    if not ids:
        return 0
    condition = and_(runs.c.state == RunState.STARTED, runs.c.stuck.is_(False))
    return _set_ids(connection, ids, condition, now, stuck=True)


def _set(
    connection: Connection,
    condition: ColumnElement[bool],
    batch: int,
    now: datetime,
    **values: Any,
) -> int:
    """Set values on at most ``batch`` runs that meet a condition, and still do."""
    ids = connection.scalars(select(runs.c.id).where(condition).limit(batch)).all()
    return _set_ids(connection, ids, condition, now, **values) if ids else 0


def _set_ids(
    connection: Connection,
    ids: Iterable[str],
    condition: ColumnElement[bool],
    now: datetime,
    **values: Any,
) -> int:
    changed = connection.execute(
        update(runs)
        .where(runs.c.id.in_(list(ids)), condition)
        .values(updated_at=now, **values)
    )
    return rows_changed(changed)
