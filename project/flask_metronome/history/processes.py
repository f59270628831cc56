"""Reads of who is at work: beats, workers, lanes, tasks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from flask_metronome.core.heartbeat import BEAT_UP_SECONDS
from flask_metronome.core.run import LIVE, UNSTARTED
from flask_metronome.history.values import (
    BeatView,
    LaneView,
    TaskView,
    WorkerView,
    names_of,
)
from flask_metronome.models import beats, runs, schedules, workers

#: Processes that were last heard of longer ago are no longer shown.
SHOWN = timedelta(days=1)
_MOST = 200
_BEAT_UP = timedelta(seconds=BEAT_UP_SECONDS)


async def list_beats(connection: AsyncConnection, now: datetime) -> list[BeatView]:
    """The beats of the last day, the living first."""
    names = [name for name in names_of(BeatView) if name != "alive"]
    statement = (
        select(*(beats.c[name] for name in names))
        .where(beats.c.heartbeat_at > now - SHOWN)
        .order_by(beats.c.heartbeat_at.desc(), beats.c.id)
        .limit(_MOST)
    )
    rows = (await connection.execute(statement)).mappings()
    found = [
        BeatView(**row, alive=_alive(row["stopped_at"], row["heartbeat_at"], now))
        for row in rows
    ]
    return sorted(found, key=lambda beat: not beat.alive)


async def list_workers(
    connection: AsyncConnection, now: datetime, lease_seconds: float
) -> list[WorkerView]:
    """The workers of the last day, the living first.

    :param lease_seconds: how often a worker says that it lives; after three
        times as long it counts as gone.
    """
    names = [name for name in names_of(WorkerView) if name != "alive"]
    statement = (
        select(*(workers.c[name] for name in names))
        .where(workers.c.heartbeat_at > now - SHOWN)
        .order_by(workers.c.heartbeat_at.desc(), workers.c.id)
        .limit(_MOST)
    )
    bound = timedelta(seconds=3 * lease_seconds)
    rows = (await connection.execute(statement)).mappings()
    found = [
        WorkerView(
            **row, alive=_alive(row["stopped_at"], row["heartbeat_at"], now, bound)
        )
        for row in rows
    ]
    return sorted(found, key=lambda worker: not worker.alive)


async def list_lanes(
    connection: AsyncConnection, known: Iterable[str], serving: Sequence[WorkerView]
) -> list[LaneView]:
    """Every lane that is known, scheduled for, or served.

    :param known: the app's lanes.
    :param serving: the workers, as :func:`list_workers` found them.
    """
    scheduled = await _counted(
        connection, schedules.c.lane, schedules.c.state == "active"
    )
    waiting = await _counted(connection, runs.c.lane, runs.c.state.in_(UNSTARTED))
    running = await _counted(connection, runs.c.lane, runs.c.state.in_(LIVE))
    served = Counter(
        lane for worker in serving if worker.alive for lane in set(worker.lanes)
    )
    names = sorted({*known, *scheduled, *waiting, *running, *served})
    return [
        LaneView(
            name=name,
            schedules=scheduled.get(name, 0),
            workers=served.get(name, 0),
            waiting=waiting.get(name, 0),
            running=running.get(name, 0),
        )
        for name in names
    ]


async def list_tasks(
    connection: AsyncConnection, registered: Mapping[str, str | None]
) -> list[TaskView]:
    """The app's tasks and those that schedules name.

    :param registered: the lane of each task of the Celery app.
    """
    scheduled = await _counted(
        connection, schedules.c.task, schedules.c.state != "retired"
    )
    return [
        TaskView(
            name=name,
            registered=name in registered,
            lane=registered.get(name),
            schedules=scheduled.get(name, 0),
        )
        for name in sorted({*registered, *scheduled})
    ]


async def _counted(
    connection: AsyncConnection,
    column: ColumnElement[str],
    condition: ColumnElement[bool],
) -> dict[str, int]:
    statement = select(column, func.count()).where(condition).group_by(column)
    rows = await connection.execute(statement)
    return {str(row[0]): int(row[1]) for row in rows}


def _alive(
    stopped_at: datetime | None,
    heartbeat_at: datetime,
    now: datetime,
    bound: timedelta = _BEAT_UP,
) -> bool:
    return stopped_at is None and heartbeat_at > now - bound
