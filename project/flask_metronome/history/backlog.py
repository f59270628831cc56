"""Reads of what waits to be sent: runs to the broker, notifications, events."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from flask_metronome.core.run import RunState
from flask_metronome.models import leases, messages, runs

#: The lease of the monitor that sweeps.
_MONITOR = "monitor"


@dataclass(frozen=True, kw_only=True, slots=True)
class BacklogView:
    """What is to be sent and was not yet, and who looks after it.

    :param unpublished: runs that should be at the broker by now.
    :param oldest: since when the first of them waits.
    :param publish_error: what the broker said last about one of them.
    :param messages: notifications and events that wait, by kind.
    :param given_up: notifications that nobody could be told, of the last days.
    :param monitor_until: see :func:`watched_until`.
    """

    unpublished: int
    oldest: datetime | None
    publish_error: str | None
    messages: dict[str, int]
    given_up: int
    monitor_until: datetime | None


async def see_backlog(connection: AsyncConnection, now: datetime) -> BacklogView:
    """What waits at this instant."""
    due = (runs.c.state == RunState.PLANNED, runs.c.publish_after <= now)
    waiting = await connection.execute(
        select(func.count(), func.min(runs.c.publish_after)).where(*due)
    )
    count, oldest = waiting.one()
    said = select(runs.c.publish_error).where(*due, runs.c.publish_error.is_not(None))
    error = await connection.execute(said.order_by(runs.c.publish_after).limit(1))
    kinds = await connection.execute(
        select(messages.c.kind, messages.c.state, func.count())
        .where(messages.c.state.in_(("pending", "failed")))
        .group_by(messages.c.kind, messages.c.state)
    )
    sums = {(row[0], row[1]): int(row[2]) for row in kinds}
    return BacklogView(
        unpublished=int(count),
        oldest=oldest,
        publish_error=error.scalar_one_or_none(),
        messages={kind: n for (kind, state), n in sums.items() if state == "pending"},
        given_up=sums.get(("notice", "failed"), 0),
        monitor_until=await watched_until(connection),
    )


async def watched_until(connection: AsyncConnection) -> datetime | None:
    """Until when a monitor holds the lease to sweep; ``None``: none ever did."""
    until = select(leases.c.expires_at).where(leases.c.name == _MONITOR)
    found: datetime | None = (await connection.execute(until)).scalar_one_or_none()
    return found
