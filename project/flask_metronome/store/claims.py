"""Claim a run before its body, by compare-and-set.

The run's row is locked first, here as where attempts end, so that two of them
never wait for each other crosswise. A fence that only grows says whose claim
counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from flask_metronome.core.claim import (
    AttemptView,
    Delivery,
    Judgement,
    Previous,
    RunView,
    Verdict,
    judge,
)
from flask_metronome.core.ending import LostCause
from flask_metronome.core.run import (
    AttemptState,
    MissedReason,
    RunState,
    SkippedReason,
)
from flask_metronome.models import attempts, runs
from flask_metronome.store import counters, workers

#: Overlap policies that make a blocked run wait; any other skips it.
_WAITING_POLICIES = ("queue_one", "queue_all", "cancel_previous")


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """What :func:`claim` decided; ``fence`` and ``delivery`` are set on CLAIM."""

    verdict: Verdict
    fence: int = 0
    delivery: int = 0
    started_at: datetime | None = None


class KeyTaken(Exception):
    """Another run took the concurrency key meanwhile: claim again."""


def claim(
    connection: Connection,
    delivery: Delivery,
    *,
    lease_seconds: float,
    now: datetime,
    tried: Sequence[datetime] = (),
) -> Claim:
    """Decide about a delivery and, if it may run, make it the run's holder.

    :param lease_seconds: how often workers say that they live.
    :param tried: when this very claim was made before, if nobody knows whether
        the database took it.
    :raises KeyTaken: the transaction must be rolled back and tried again.
    """
    run = _locked(connection, delivery.run_id)
    previous = _latest_attempt(connection, run) if run else None
    if previous is not None and _is_own(previous, delivery, tried):
        return Claim(
            verdict=Verdict.CLAIM,
            fence=previous.fence,
            delivery=previous.delivery,
            started_at=previous.started_at,
        )
    judgement = judge(
        _run_view(run),
        _attempt_view(connection, previous, delivery, lease_seconds, now),
        delivery,
        now,
    )
    if run is None:
        return Claim(verdict=judgement.verdict)
    if previous is not None:
        _settle_previous(connection, run, previous, judgement, now)
    return _carry_out(connection, run, previous, delivery, judgement, now)


def receive(connection: Connection, run_ids: Sequence[str], *, now: datetime) -> None:
    """Note that a worker has the messages of these runs."""
    chosen = runs.c.id.in_(run_ids)
    connection.execute(
        update(runs)
        .where(chosen, runs.c.received_at.is_(None))
        .values(received_at=now, updated_at=now)
    )
    connection.execute(
        update(runs)
        .where(chosen, runs.c.state.in_((RunState.PLANNED, RunState.PUBLISHED)))
        .values(state=RunState.RECEIVED, updated_at=now)
    )


def is_holder(connection: Connection, run_id: str, fence: int) -> bool:
    """Whether this fence holds the run, until this transaction ends."""
    held = select(runs.c.id).where(
        runs.c.id == run_id, runs.c.fence == fence, runs.c.state == RunState.STARTED
    )
    return connection.execute(held.with_for_update()).first() is not None


def _is_own(previous: Row[Any], delivery: Delivery, tried: Sequence[datetime]) -> bool:
    """Whether the attempt is this very claim, whose commit nobody confirmed."""
    return (
        previous.state == AttemptState.RUNNING
        and previous.started_at in tried
        and previous.worker_id == delivery.worker_id
        and previous.pid == delivery.pid
        and previous.retries == delivery.retries
    )


def _locked(connection: Connection, run_id: str) -> Row[Any] | None:
    return connection.execute(
        select(runs).where(runs.c.id == run_id).with_for_update()
    ).one_or_none()


def _latest_attempt(connection: Connection, run: Row[Any]) -> Row[Any] | None:
    if not run.fence:
        return None
    return connection.execute(
        select(attempts).where(
            attempts.c.task_id == run.id, attempts.c.fence == run.fence
        )
    ).one_or_none()


def _run_view(run: Row[Any] | None) -> RunView | None:
    if run is None:
        return None
    begun = run.started_at is not None
    return RunView(
        state=RunState(run.state),
        # it is for the start: one that has begun may be begun again
        deadline_at=None if begun else run.deadline_at,
        on_lost=run.on_lost,
    )


def _attempt_view(
    connection: Connection,
    attempt: Row[Any] | None,
    delivery: Delivery,
    lease_seconds: float,
    now: datetime,
) -> AttemptView | None:
    if attempt is None:
        return None
    state = AttemptState(attempt.state)
    alive = False
    if state is AttemptState.RUNNING:
        alive = _may_be_alive(connection, attempt, delivery, lease_seconds, now)
    return AttemptView(
        state=state,
        retries=attempt.retries,
        alive=alive,
        losses=_losses(connection, attempt),
        fence=attempt.fence,
    )


def _may_be_alive(
    connection: Connection,
    attempt: Row[Any],
    delivery: Delivery,
    lease_seconds: float,
    now: datetime,
) -> bool:
    if attempt.worker_id is None:
        # nobody vouches for it: the broker gives a message to somebody else
        # only when the connection of the one who had it is gone
        return not delivery.redelivered
    return workers.may_run(
        connection,
        attempt.worker_id,
        attempt.pid or 0,
        started_at=attempt.started_at,
        lease_seconds=lease_seconds,
        now=now,
    )


def _losses(connection: Connection, attempt: Row[Any]) -> int:
    lost = select(func.count()).where(
        attempts.c.task_id == attempt.task_id,
        attempts.c.retries == attempt.retries,
        attempts.c.state == AttemptState.LOST,
    )
    open_one = attempt.state == AttemptState.RUNNING
    return int(connection.execute(lost).scalar_one()) + open_one


def _settle_previous(
    connection: Connection,
    run: Row[Any],
    previous: Row[Any],
    judgement: Judgement,
    now: datetime,
) -> None:
    if judgement.previous is Previous.KEEP:
        return
    retried = judgement.previous is Previous.RETRIED
    state = AttemptState.RETRIED if retried else AttemptState.LOST
    connection.execute(
        update(attempts)
        .where(attempts.c.id == previous.id, attempts.c.state == AttemptState.RUNNING)
        .values(
            state=state,
            ended_at=now,
            runtime_seconds=(now - previous.started_at).total_seconds(),
            lost_cause=None if retried else LostCause.SUPERSEDED,
        )
    )
    if retried:
        connection.execute(
            update(runs).where(runs.c.id == run.id).values(retries=runs.c.retries + 1)
        )


def _carry_out(
    connection: Connection,
    run: Row[Any],
    previous: Row[Any] | None,
    delivery: Delivery,
    judgement: Judgement,
    now: datetime,
) -> Claim:
    verdict = judgement.verdict
    if verdict is Verdict.CLAIM:
        return _take(connection, run, delivery, now)
    if verdict is Verdict.DUPLICATE:
        _change(connection, run, now, duplicates=runs.c.duplicates + 1)
        if run.counted:
            # its numbers are in the sums already, and nobody looks at it again
            key = counters.CounterKey(counters.DUPLICATES, run.schedule_key, "")
            counters.add(connection, {key: 1})
    elif verdict is Verdict.EXPIRED:
        _change(
            connection,
            run,
            now,
            state=RunState.EXPIRED,
            reason=MissedReason.EXPIRED,
            missed=True,
            finished_at=now,
        )
    elif verdict is Verdict.LOST:
        _change(
            connection,
            run,
            now,
            state=RunState.LOST,
            reason=(previous and previous.lost_cause) or LostCause.SUPERSEDED,
            error="The worker that ran it died before it could report.",
            finished_at=now,
            live_key=None,
        )
    return Claim(verdict=verdict)


def _take(
    connection: Connection, run: Row[Any], delivery: Delivery, now: datetime
) -> Claim:
    if run.exclusive and _is_taken(connection, run):
        return _blocked(connection, run, now)
    fence = run.fence + 1
    late_after = timedelta(seconds=run.late_after_seconds)
    first = run.started_at is None
    try:
        _change(
            connection,
            run,
            now,
            state=RunState.STARTED,
            # a due time that was missed keeps why, also when it runs after all
            reason=run.reason if run.missed else None,
            fence=fence,
            attempts=run.attempts + 1,
            started_at=run.started_at or now,
            late=run.late or (first and now - run.fires_at > late_after),
            worker=delivery.worker[:255],
            live_key=run.concurrency_key if run.exclusive else None,
            retry_at=None,
            publish_owner=None,
            publish_until=None,
        )
    except IntegrityError as error:
        raise KeyTaken from error
    number = _next_delivery(connection, delivery)
    connection.execute(
        insert(attempts).values(
            run_id=run.id,
            task_id=run.id,
            task=delivery.task[:255],
            retries=delivery.retries,
            delivery=number,
            fence=fence,
            state=AttemptState.RUNNING,
            worker=delivery.worker[:255],
            worker_id=delivery.worker_id,
            pid=delivery.pid,
            redelivered=delivery.redelivered,
            started_at=now,
            trace_id=delivery.trace_id,
        )
    )
    return Claim(verdict=Verdict.CLAIM, fence=fence, delivery=number, started_at=now)


def _is_taken(connection: Connection, run: Row[Any]) -> bool:
    holder = select(runs.c.id).where(
        runs.c.live_key == run.concurrency_key, runs.c.id != run.id
    )
    return connection.execute(holder).first() is not None


def _blocked(connection: Connection, run: Row[Any], now: datetime) -> Claim:
    waits = (run.options or {}).get("overlap") in _WAITING_POLICIES
    if waits:
        _change(connection, run, now, state=RunState.WAITING, live_key=None)
    else:
        _change(
            connection,
            run,
            now,
            state=RunState.SKIPPED,
            reason=SkippedReason.OVERLAP,
            finished_at=now,
            live_key=None,
        )
    return Claim(verdict=Verdict.OVERLAP)


def _next_delivery(connection: Connection, delivery: Delivery) -> int:
    highest = select(func.max(attempts.c.delivery)).where(
        attempts.c.task_id == delivery.run_id,
        attempts.c.retries == delivery.retries,
    )
    return int(connection.execute(highest).scalar() or 0) + 1


def _change(
    connection: Connection, run: Row[Any], now: datetime, **values: Any
) -> None:
    """Change a locked run, if it is still as it was read."""
    connection.execute(
        update(runs)
        .where(
            runs.c.id == run.id, runs.c.fence == run.fence, runs.c.state == run.state
        )
        .values(updated_at=now, **values)
    )
