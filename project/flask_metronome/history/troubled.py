"""Reads of the schedules that somebody should look at, however many there are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from flask_metronome.core.run import BAD, RunState
from flask_metronome.models import runs, schedules

#: Ends that are a verdict; what was left out on purpose says nothing.
_VERDICTS = (RunState.SUCCEEDED, *sorted(BAD))


@dataclass(frozen=True, kw_only=True, slots=True)
class TroubledView:
    """A schedule that somebody should look at.

    :param last_state: how its last run with a verdict ended.
    :param overdue: whether a due time has passed that no beat has taken.
    """

    key: str
    broken: bool
    overdue: bool
    last_state: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Standings:
    """How all schedules stand: how many in each state, and those in trouble."""

    by_state: Mapping[str, int]
    troubled_count: int
    troubled: tuple[TroubledView, ...]


def in_trouble(now: datetime) -> ColumnElement[bool]:
    """Whether a schedule is broken, overdue, or its last verdict was bad."""
    active = schedules.c.state == "active"
    return or_(
        schedules.c.state == "broken",
        and_(
            active,
            or_(
                schedules.c.error.is_not(None),
                schedules.c.miss_after_at < now,
                _last_verdict().in_(sorted(BAD)),
            ),
        ),
    )


async def standings(
    connection: AsyncConnection, now: datetime, *, limit: int
) -> Standings:
    """All schedules in two statements; of those in trouble the first by key."""
    counted = await connection.execute(
        select(schedules.c.state, func.count()).group_by(schedules.c.state)
    )
    statement = (
        select(
            schedules.c.key,
            schedules.c.state,
            schedules.c.error,
            schedules.c.miss_after_at,
            _last_verdict().label("last_state"),
        )
        .where(in_trouble(now))
        .order_by(schedules.c.key)
    )
    rows = (await connection.execute(statement)).all()
    return Standings(
        by_state={str(row[0]): int(row[1]) for row in counted},
        troubled_count=len(rows),
        troubled=tuple(
            TroubledView(
                key=row.key,
                broken=row.state == "broken" or row.error is not None,
                overdue=row.miss_after_at is not None and row.miss_after_at < now,
                last_state=row.last_state,
            )
            for row in rows[:limit]
        ),
    )


def _last_verdict() -> ColumnElement[str | None]:
    """The state of a schedule's newest run that says something: an index walk."""
    return (
        select(runs.c.state)
        .where(runs.c.schedule_id == schedules.c.id, runs.c.state.in_(_VERDICTS))
        .order_by(runs.c.due_at.desc())
        .limit(1)
        .correlate(schedules)
        .scalar_subquery()
    )
