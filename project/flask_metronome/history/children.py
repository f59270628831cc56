"""The tasks that a run's body started, and those that they started."""

from __future__ import annotations

from sqlalchemy import not_, select, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from flask_metronome.history.values import ChildView
from flask_metronome.models import results, runs

#: A body that starts more than these is shown the first.
LIMIT = 200


async def children_of(
    connection: AsyncConnection, run_id: str, *, limit: int = LIMIT
) -> list[ChildView]:
    """What a run started by chains, groups, chords or from its body.

    Only what a worker has begun and whose result is stored; Celery's own helpers
    are left out.
    """
    statement = (
        select(
            results.c.task_id,
            results.c.name.label("task"),
            results.c.status.label("state"),
            results.c.parent_id,
            results.c.group_id,
            results.c.worker,
            results.c.retries,
            results.c.done_at,
        )
        .where(results.c.run_id == run_id)
        .where(not_(results.c.name.like("celery.%")))
        .order_by(results.c.updated_at, results.c.task_id)
        .limit(limit)
    )
    rows = await connection.execute(statement)
    return [ChildView(**row) for row in rows.mappings()]


async def run_of_task(connection: AsyncConnection, task_id: str) -> str | None:
    """The run that a task is, or whose body started it; ``None``: no run's."""
    own = select(runs.c.id.label("run_id")).where(runs.c.id == task_id)
    started = select(results.c.run_id).where(
        results.c.task_id == task_id, results.c.run_id.is_not(None)
    )
    found = await connection.execute(union_all(own, started).limit(1))
    return found.scalar_one_or_none()
