"""Reads of the periods in which nobody was watching."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from flask_metronome.core.unknown import ABSENCE_SECONDS, MONITOR_LEASE, UnknownCause
from flask_metronome.history.values import UnknownPeriod
from flask_metronome.models import leases, unknown_periods

_MOST = 100


async def unknown_between(
    connection: AsyncConnection, since: datetime, until: datetime
) -> list[UnknownPeriod]:
    """The newest periods that meet a span, newest first.

    The one that goes on is among them: its end and its cause are known later.
    """
    rows = await connection.execute(
        select(
            unknown_periods.c.from_at, unknown_periods.c.to_at, unknown_periods.c.cause
        )
        .where(unknown_periods.c.to_at > since, unknown_periods.c.from_at < until)
        .order_by(unknown_periods.c.to_at.desc())
        .limit(_MOST)
    )
    found = [UnknownPeriod(**row._mapping) for row in rows]
    swept_at = await connection.scalar(
        select(leases.c.touched_at).where(leases.c.name == MONITOR_LEASE)
    )
    if swept_at is not None and until - swept_at > timedelta(seconds=ABSENCE_SECONDS):
        open_one = UnknownPeriod(
            from_at=swept_at, to_at=None, cause=UnknownCause.NO_MONITOR
        )
        found.insert(0, open_one)
    return found
