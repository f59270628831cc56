"""How long runs wait from their due time to their start."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from flask_metronome.core.run import AUTO
from flask_metronome.history.stats import SAMPLE, durations_of
from flask_metronome.history.values import Durations
from flask_metronome.models import runs


async def waits_between(
    connection: AsyncConnection, since: datetime, until: datetime, *, schedule_id: str
) -> Durations:
    """From due (with its jitter) to start, of the newest that started.

    Only of what the cadence made: what was asked for by hand is never late.
    """
    statement = (
        select(runs.c.fires_at, runs.c.started_at)
        .where(
            runs.c.schedule_id == schedule_id,
            runs.c.due_at > since,
            runs.c.due_at <= until,
            runs.c.origin == AUTO,
            runs.c.started_at.is_not(None),
        )
        .order_by(runs.c.due_at.desc())
        .limit(SAMPLE)
    )
    rows = (await connection.execute(statement)).all()
    return durations_of(
        [max(0.0, (row.started_at - row.fires_at).total_seconds()) for row in rows]
    )
