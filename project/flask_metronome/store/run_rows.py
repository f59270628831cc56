"""A run's row as it begins: what the schedule says, at one due time."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from flask_metronome.core.plan import PlannedRun
from flask_metronome.core.run import RunState
from flask_metronome.core.schedule import Limits, Schedule

EXCLUSIVE = frozenset({"skip", "queue_one", "queue_all", "cancel_previous"})


def base_row(
    schedule: Schedule, *, due_at: datetime, now: datetime, limits: Limits | None = None
) -> dict[str, Any]:
    """The columns that follow from the schedule; the caller adds id and state."""
    definition = schedule.definition
    if limits is None:
        limits = Limits.of(definition, definition.timing.interval_seconds(due_at))
    return {
        "schedule_id": schedule.id,
        "schedule_key": schedule.key,
        "due_at": due_at,
        "fires_at": due_at,
        "task": definition.task,
        "lane": definition.lane,
        "args": list(definition.args),
        "kwargs": dict(definition.kwargs),
        "options": dict(definition.options) | {"overlap": definition.overlap},
        "revision": schedule.revision,
        "reason": None,
        "catchup": False,
        "missed": False,
        "missed_from": None,
        "missed_to": None,
        "missed_count": 0,
        "grace_until": due_at + timedelta(seconds=limits.grace_seconds),
        "late_after_seconds": limits.late_after_seconds,
        "max_runtime_seconds": definition.max_runtime_seconds,
        "deadline_at": None,
        "on_lost": definition.on_lost,
        "concurrency_key": schedule.concurrency_key,
        "exclusive": definition.overlap in EXCLUSIVE,
        "planned_at": now,
        "publish_after": None,
        "publish_owner": None,
        "publish_until": None,
        "finished_at": None,
        "updated_at": now,
    }


def planned_row(schedule: Schedule, run: PlannedRun, now: datetime) -> dict[str, Any]:
    """A plan's run as a row."""
    limits = Limits(
        grace_seconds=(run.grace_until - run.fires_at).total_seconds(),
        late_after_seconds=run.late_after_seconds,
    )
    row = base_row(schedule, due_at=run.due_at, now=now, limits=limits)
    overlap = schedule.definition.overlap_of(catchup=run.catchup)
    row |= {
        "options": row["options"] | {"overlap": overlap},
        "id": run.id,
        "origin": run.origin,
        "fires_at": run.fires_at,
        "state": run.state,
        "reason": run.reason,
        "catchup": run.catchup,
        "missed": run.missed,
        "missed_from": run.missed_from,
        "missed_to": run.missed_to,
        "missed_count": run.missed_count,
        "grace_until": run.grace_until,
        "deadline_at": run.deadline_at,
        "finished_at": None if run.makes_work else now,
        "publish_after": run.fires_at if run.state is RunState.PLANNED else None,
    }
    return row
