"""Close the runs whose messages are dead letters."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select, update

from flask_metronome.core.death import SAID, DeadReason, run_state_after_death
from flask_metronome.core.run import FINAL, AttemptState, RunState
from flask_metronome.models import attempts, runs


@dataclass(frozen=True, kw_only=True, slots=True)
class Death:
    """A run's message that is a dead letter.

    :param retries: the message's own count.
    """

    run_id: str
    retries: int
    reason: DeadReason


def close_dead(connection: Connection, death: Death, *, now: datetime) -> bool:
    """End a run whose message will not come any more; whether that ended it."""
    run = connection.execute(
        select(runs.c.state, runs.c.retries, runs.c.fence, runs.c.missed, runs.c.reason)
        .where(runs.c.id == death.run_id)
        .with_for_update()
    ).one_or_none()
    if run is None or RunState(run.state) in FINAL:
        return False
    state = run_state_after_death(
        RunState(run.state),
        reason=death.reason,
        retries=death.retries,
        run_retries=run.retries,
        attempt=_attempt_state(connection, death.run_id, run.fence),
    )
    if state is None:
        return False
    changed = connection.execute(
        update(runs)
        .where(
            runs.c.id == death.run_id,
            runs.c.state == run.state,
            runs.c.fence == run.fence,
        )
        .values(**_values(run, state, death.reason, now))
    )
    return bool(changed.rowcount)


def _values(
    run: Any, state: RunState, reason: DeadReason, now: datetime
) -> dict[str, Any]:
    values: dict[str, Any] = {
        "state": state,
        "reason": reason,
        "error": SAID[reason],
        "error_type": "DeadLetter",
        "live_key": None,
        "retry_at": None,
        "finished_at": now,
        "updated_at": now,
    }
    if state is RunState.EXPIRED:
        values["missed"] = True
        if run.missed:
            values["reason"] = run.reason  # it keeps why it was missed first
    return values


def _attempt_state(
    connection: Connection, run_id: str, fence: int
) -> AttemptState | None:
    found = connection.execute(
        select(attempts.c.state).where(
            attempts.c.task_id == run_id, attempts.c.fence == fence
        )
    ).scalar()
    return AttemptState(found) if found else None
