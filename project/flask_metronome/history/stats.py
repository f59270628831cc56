"""Sums over a span of due times."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, case, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from flask_metronome.core.run import BAD, RunState
from flask_metronome.history.unknown import unknown_between
from flask_metronome.history.values import Durations, Stats
from flask_metronome.models import runs

#: Durations are taken of the newest so many succeeded runs.
SAMPLE = 1000


async def stats_between(
    connection: AsyncConnection,
    since: datetime,
    until: datetime,
    *,
    schedule_id: str | None = None,
) -> Stats:
    """What became of the runs due after ``since`` and up to ``until``."""
    conditions: list[ColumnElement[bool]] = [
        runs.c.due_at > since,
        runs.c.due_at <= until,
    ]
    if schedule_id is not None:
        conditions.append(runs.c.schedule_id == schedule_id)
    spanned = case((runs.c.missed_to.is_not(None), runs.c.missed_count), else_=1)
    statement = (
        select(
            runs.c.state,
            func.count(),
            func.sum(case((runs.c.missed, spanned), else_=0)),
            func.sum(case((runs.c.late, 1), else_=0)),
            func.sum(runs.c.retries),
        )
        .where(*conditions)
        .group_by(runs.c.state)
    )
    rows = (await connection.execute(statement)).all()
    states = {row[0]: int(row[1]) for row in rows}
    durations = None
    if schedule_id is not None:
        durations = await _durations(connection, conditions)
    unknown = await unknown_between(connection, since, until)
    return Stats(
        since=since,
        until=until,
        runs=sum(states.values()),
        states=dict(sorted(states.items())),
        missed=sum(int(row[2]) for row in rows),
        late=sum(int(row[3]) for row in rows),
        retries=sum(int(row[4]) for row in rows),
        success_rate=success_rate(states),
        durations=durations,
        unknown_periods=unknown,
    )


def success_rate(states: dict[str, int]) -> float | None:
    """Succeeded ÷ (succeeded or bad); ``None`` when neither is there.

    What was skipped or cancelled on purpose is no verdict.
    """
    good = states.get(RunState.SUCCEEDED, 0)
    bad = sum(states.get(state, 0) for state in BAD)
    return good / (good + bad) if good + bad else None


def durations_of(seconds: Sequence[float]) -> Durations:
    """Median, 95th percentile (nearest rank), mean and longest."""
    if not seconds:
        return Durations(sample=0)
    ordered = sorted(seconds)
    return Durations(
        sample=len(ordered),
        p50=_rank(ordered, 0.5),
        p95=_rank(ordered, 0.95),
        mean=math.fsum(ordered) / len(ordered),
        longest=ordered[-1],
    )


def _rank(ordered: Sequence[float], share: float) -> float:
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


async def _durations(
    connection: AsyncConnection, conditions: list[ColumnElement[bool]]
) -> Durations:
    statement = (
        select(runs.c.runtime_seconds)
        .where(
            *conditions,
            runs.c.state == RunState.SUCCEEDED,
            runs.c.runtime_seconds.is_not(None),
        )
        .order_by(runs.c.due_at.desc())
        .limit(SAMPLE)
    )
    return durations_of(list((await connection.execute(statement)).scalars()))
