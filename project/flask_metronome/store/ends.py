"""End attempts and move their runs on: by compare-and-set, whoever reports it.

The run's row is changed first, as in :mod:`flask_metronome.store.claims`, so
that a claim and an ending never wait for each other crosswise.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    case,
    exists,
    not_,
    null,
    or_,
    select,
    update,
)

from flask_metronome.core.ending import Ending, run_state_after
from flask_metronome.core.run import FINAL, UNSTARTED, AttemptState, RunState
from flask_metronome.identity import process_mark
from flask_metronome.models import attempts, runs
from flask_metronome.store.upserts import comparable, plus_seconds


def finish(connection: Connection, ending: Ending, *, now: datetime) -> bool:
    """End an attempt and move its run on; whether the ending counts.

    It counts when the run is still held by this fence. Repeating it changes
    nothing.
    """
    if ending.retry_after_seconds is not None:
        delay = timedelta(seconds=ending.retry_after_seconds)
        ending = replace(ending, retry_at=now + delay, retry_after_seconds=None)
    fence = ending.fence
    if fence is None:
        fence = _fence_of_worker(connection, ending)
        if fence is None:
            return _end_replaced(connection, ending, now)
    runtime = ending.runtime_seconds
    if runtime is None:
        runtime = _seconds(begun_at(connection, ending.run_id, fence), now)
    counts = _move_run(connection, ending, fence, runtime, now)
    _end_attempt(connection, ending, fence, runtime, now, counts=counts)
    return counts


def close_unstarted(
    connection: Connection,
    run_id: str,
    *,
    state: RunState,
    reason: str | None,
    error: str | None = None,
    now: datetime,
) -> bool:
    """End a run that no worker has begun, or begun again; whether it was one.

    A run that waits for its retry cannot expire any more: it failed.
    """
    closed = {
        "reason": reason,
        "error": error,
        "finished_at": now,
        "updated_at": now,
        "live_key": None,
    }
    missed = state is RunState.EXPIRED
    begun = RunState.FAILED if missed else state
    changed = connection.execute(
        update(runs)
        .where(runs.c.id == run_id, runs.c.state.in_(UNSTARTED))
        .values(state=state, **({"missed": True} if missed else {}), **closed)
    )
    again = connection.execute(
        update(runs)
        .where(runs.c.id == run_id, runs.c.state == RunState.RETRYING)
        .values(state=begun, **closed)
    )
    return bool(changed.rowcount or again.rowcount)


def _fence_of_worker(connection: Connection, ending: Ending) -> int | None:
    """The fence of the attempt that this worker has running, if there is one."""
    connection.execute(
        select(runs.c.id).where(runs.c.id == ending.run_id).with_for_update()
    )
    rows = connection.execute(
        select(attempts.c.fence, attempts.c.pid)
        .where(
            attempts.c.task_id == ending.run_id,
            attempts.c.retries == ending.retries,
            attempts.c.worker_id == ending.worker_id,
            attempts.c.state == AttemptState.RUNNING,
        )
        .order_by(attempts.c.fence.desc())
    ).all()
    return next((row.fence for row in rows if _is_of_process(row, ending)), None)


def _is_of_process(attempt: Any, ending: Ending) -> bool:
    """Another process of that worker may be at the same run: a second delivery."""
    if ending.pid is not None:
        return bool(attempt.pid == ending.pid)
    # nobody knows who had it; whoever lives reports for itself
    return attempt.pid is None or process_mark(attempt.pid) is None


def _end_replaced(connection: Connection, ending: Ending, now: datetime) -> bool:
    """End a run as failed whose heir will never run: a link before it failed.

    A body may be replaced by a chain or a chord, whose last task takes over the
    run. Celery stores the failure of an earlier one for it.
    """
    if ending.state not in (AttemptState.FAILED, AttemptState.TIMED_OUT):
        return False
    replaced = exists().where(
        attempts.c.task_id == runs.c.id,
        attempts.c.fence == runs.c.fence,
        attempts.c.state == AttemptState.IGNORED,
    )
    changed = connection.execute(
        update(runs)
        .where(runs.c.id == ending.run_id, runs.c.state == RunState.RETRYING, replaced)
        .values(
            state=RunState.FAILED,
            reason="replacement_failed",
            error=ending.error,
            error_type=_short(ending.error_type),
            finished_at=now,
            updated_at=now,
            live_key=None,
        )
    )
    return bool(changed.rowcount)


def begun_at(connection: Connection, run_id: str, fence: int | None) -> datetime | None:
    """When the attempt of that fence began; ``None`` when nobody knows."""
    return connection.execute(
        select(attempts.c.started_at).where(
            attempts.c.task_id == run_id, attempts.c.fence == fence
        )
    ).scalar()


def _move_run(
    connection: Connection,
    ending: Ending,
    fence: int,
    runtime: float | None,
    now: datetime,
) -> bool:
    on_lost = "fail"
    if ending.state is AttemptState.LOST:
        on_lost = _on_lost(connection, ending.run_id)
    state = run_state_after(ending, on_lost)
    changed = connection.execute(
        update(runs)
        .where(
            runs.c.id == ending.run_id,
            runs.c.fence == fence,
            _is_held(ending),
            ~_has_ended(ending, fence),
        )
        .values(
            updated_at=now,
            overrun=or_(runs.c.overrun, _is_overrun(connection.dialect.name, now)),
            **_run_values(ending, state, runtime, now),
        )
    )
    return bool(changed.rowcount)


def _is_held(ending: Ending) -> ColumnElement[bool]:
    """Of a run: it is this attempt's to move."""
    started = runs.c.state == RunState.STARTED
    if not ending.not_replaced:
        return started
    handed_on = and_(runs.c.state == RunState.RETRYING, runs.c.reason == "replaced")
    return or_(started, handed_on)


def _may_end(ending: Ending) -> ColumnElement[bool]:
    """Of an attempt: it runs, or was only inferred to be lost a moment ago.

    A body whose process was about to be killed may still have told its end.
    Once the loss is in the sums it stays.
    """
    state = attempts.c.state
    runs_still = state == AttemptState.RUNNING
    if ending.not_replaced:
        return or_(runs_still, state == AttemptState.IGNORED)
    if ending.state is AttemptState.LOST or ending.fence is None:
        return runs_still
    return or_(runs_still, and_(state == AttemptState.LOST, ~attempts.c.counted))


def _has_ended(ending: Ending, fence: int) -> ColumnElement[bool]:
    """Whether its attempt has ended for good, though its run has not."""
    mine = attempts.c.task_id == ending.run_id, attempts.c.fence == fence
    return exists().where(*mine, not_(_may_end(ending)))


def _is_overrun(dialect: str, now: datetime) -> ColumnElement[bool]:
    """Longer than its longest runtime, though no monitor looked in between."""
    limit = plus_seconds(dialect, runs.c.started_at, runs.c.max_runtime_seconds)
    is_over = limit < comparable(dialect, now)
    return and_(runs.c.max_runtime_seconds.is_not(None), is_over)


#: A due time that was missed keeps why, also when it ran after all.
_MISSED_BEFORE = case((runs.c.missed, runs.c.reason), else_=null())


def _run_values(
    ending: Ending, state: RunState, runtime: float | None, now: datetime
) -> dict[str, Any]:
    values: dict[str, Any] = {
        "state": state,
        "reason": ending.reason or ending.lost_cause or _MISSED_BEFORE,
        "error": ending.error,
        "error_type": _short(ending.error_type),
    }
    if ending.state is AttemptState.RETRIED:
        values |= {"retries": runs.c.retries + 1, "retry_at": ending.retry_at}
    if state in FINAL:
        values |= {
            "finished_at": now,
            "runtime_seconds": runtime,
            "live_key": None,
            "retry_at": None,
        }
    if state is RunState.PLANNED:
        # the message is gone: back into the outbox
        values |= {
            "live_key": None,
            "publish_after": now,
            "publish_owner": None,
            "publish_until": None,
        }
    return values


def _on_lost(connection: Connection, run_id: str) -> str:
    row = select(runs.c.on_lost).where(runs.c.id == run_id).with_for_update()
    return str(connection.execute(row).scalar() or "fail")


def _end_attempt(
    connection: Connection,
    ending: Ending,
    fence: int,
    runtime: float | None,
    now: datetime,
    *,
    counts: bool,
) -> None:
    """Write the attempt's end; one that only was inferred gets its details."""
    state = attempts.c.state
    undetailed = and_(state == ending.state, attempts.c.error_type.is_(None))
    values: dict[str, Any] = {
        "error_type": _short(ending.error_type),
        "error": ending.error,
        "fingerprint": ending.fingerprint,
        "traceback": ending.traceback,
        "retry_reason": _short(ending.retry_reason),
        "retry_at": ending.retry_at,
    }
    mine = and_(attempts.c.task_id == ending.run_id, attempts.c.fence == fence)
    changed = connection.execute(
        update(attempts)
        .where(mine, _may_end(ending) if counts else state == AttemptState.RUNNING)
        .values(
            state=ending.state,
            ended_at=now,
            runtime_seconds=runtime,
            lost_cause=ending.lost_cause,
            **values,
        )
    )
    if changed.rowcount == 0 and ending.state is AttemptState.RETRIED:
        connection.execute(update(attempts).where(mine, undetailed).values(**values))


def _seconds(started: datetime | None, now: datetime) -> float | None:
    return (now - started).total_seconds() if started is not None else None


def _short(text: str | None, limit: int = 255) -> str | None:
    return text[:limit] if text else text
