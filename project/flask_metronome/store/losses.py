"""Attempts that will never report.

Lost: the worker's lease ran out, or the worker lives and two heartbeats in a
row do not list the attempt. What becomes of the run is its ``on_lost`` policy.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, and_, select, update

from flask_metronome.core.ending import LostCause
from flask_metronome.core.run import AttemptState, RunState
from flask_metronome.models import attempts, runs
from flask_metronome.store.sightings import OUT_OF_HANDS, LossRules, Sightings, Workers
from flask_metronome.store.upserts import rows_changed


def mark_lost(
    connection: Connection,
    *,
    batch: int,
    now: datetime,
    rules: LossRules,
    sightings: Sightings,
) -> int:
    """Close attempts that will never report, and decide their runs; how many."""
    running = connection.execute(
        select(
            attempts.c.id,
            attempts.c.run_id,
            attempts.c.task_id,
            attempts.c.worker,
            attempts.c.worker_id,
            attempts.c.started_at,
            attempts.c.fence,
        ).where(
            # never counted while it runs; said so that the index serves
            attempts.c.counted.is_(False),
            attempts.c.state == AttemptState.RUNNING,
        )
    ).all()
    live = Workers.read(connection, rules.alive_since(now))
    _forget_ended(sightings, {row.id for row in running})
    lost = 0
    for row in running:
        cause = _cause_of_loss(row, live, rules, sightings, now)
        if cause is not None and lost < batch:
            lost += _lose(connection, row, cause, rules, now)
    return lost


def _cause_of_loss(
    row: Any, live: Workers, rules: LossRules, sightings: Sightings, now: datetime
) -> LostCause | None:
    """Why an attempt is lost, or ``None`` while it may still report."""
    worker = live.of(row.worker_id, row.worker)
    if worker is None:
        return LostCause.WORKER_DEAD if row.started_at < live.alive_since else None
    if worker.stopped_at is not None:
        # a warm shutdown writes its last attempts before or just after this
        ended = now - worker.stopped_at > timedelta(seconds=rules.lease_seconds)
        return LostCause.WORKER_DEAD if ended else None
    if not live.is_alive(worker):
        # the start of an attempt is a sign of life as good as a heartbeat
        return LostCause.WORKER_DEAD if row.started_at < live.alive_since else None
    return _vanished(row, worker, sightings)


def _vanished(row: Any, worker: Any, sightings: Sightings) -> LostCause | None:
    if row.task_id in worker.active or worker.heartbeat_at <= row.started_at:
        sightings.unlisted.pop(row.id, None)
        return None
    first = sightings.unlisted.setdefault(row.id, worker.heartbeat_at)
    return LostCause.VANISHED if worker.heartbeat_at > first else None


def _forget_ended(sightings: Sightings, running: set[int]) -> None:
    for attempt_id in sightings.unlisted.keys() - running:
        del sightings.unlisted[attempt_id]


def _lose(
    connection: Connection, row: Any, cause: LostCause, rules: LossRules, now: datetime
) -> int:
    said = f"The worker {row.worker} {_SAID[cause]}."
    # the run's row first, as the workers do: nobody waits crosswise
    connection.execute(
        select(runs.c.id).where(runs.c.id == row.run_id).with_for_update()
    )
    closed = connection.execute(
        update(attempts)
        .where(attempts.c.id == row.id, attempts.c.state == AttemptState.RUNNING)
        .values(
            state=AttemptState.LOST,
            lost_cause=cause,
            ended_at=now,
            error_type="Lost",
            error=said,
        )
    )
    if rows_changed(closed) == 0:
        return 0
    if row.run_id is not None:
        _decide_lost_run(connection, row, cause, said, rules, now)
    return 1


_SAID = {
    LostCause.WORKER_DEAD: "gave no sign of life for three leases",
    LostCause.VANISHED: "lives but does not execute it, and never reported its end",
}


def _decide_lost_run(
    connection: Connection,
    row: Any,
    cause: LostCause,
    said: str,
    rules: LossRules,
    now: datetime,
) -> None:
    """``rerun`` puts the run back into the outbox, ``fail`` ends it as lost."""
    mine = and_(
        runs.c.id == row.run_id,
        runs.c.state == RunState.STARTED,
        runs.c.fence == row.fence,
    )
    again = connection.execute(
        update(runs)
        .where(mine, runs.c.on_lost == "rerun", runs.c.attempts < rules.most_attempts)
        .values(
            state=RunState.PLANNED,
            worker=None,
            **OUT_OF_HANDS,
            publish_after=now,
            updated_at=now,
        )
    )
    if rows_changed(again) == 0:
        connection.execute(
            update(runs)
            .where(mine)
            .values(
                state=RunState.LOST,
                reason=cause,
                live_key=None,
                finished_at=now,
                error_type="Lost",
                error=said,
                updated_at=now,
            )
        )
