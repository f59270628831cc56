"""The numbers of processes, lanes and outboxes, for the metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, select

from flask_metronome.core.heartbeat import BEAT_UP_SECONDS
from flask_metronome.core.run import FINAL, RunState
from flask_metronome.core.unknown import MONITOR_LEASE
from flask_metronome.models import beats, lane_depths, leases, messages, runs, workers
from flask_metronome.store import counters
from metronome_monitoring.snapshot import LaneNumbers, Queued, WorkerNumbers

#: A worker that was heard of longer ago has no series any more.
WORKER_SHOWN = timedelta(hours=1)
#: Workers and lanes with series of their own, the newest and the first ones.
MOST_WORKERS = 200
MOST_LANES = 200
#: What a monitor saw in the broker longer ago says nothing of now.
DEPTH_LASTS = timedelta(seconds=60)
_KINDS = ("notice", "event")
_FINAL = sorted(state.value for state in FINAL)


def process_numbers(
    connection: Connection, now: datetime, lease_seconds: float
) -> dict[str, Any]:
    """Columns of a snapshot: who is there, and what waits.

    ``dropped`` is of workers whose rows are there.
    """
    worker_since = now - timedelta(seconds=3 * lease_seconds)
    known = connection.execute(
        select(workers)
        .where(workers.c.heartbeat_at >= now - WORKER_SHOWN)
        .order_by(workers.c.heartbeat_at.desc())
    ).all()
    live = [
        row
        for row in known
        if row.stopped_at is None and row.heartbeat_at >= worker_since
    ]
    swept = connection.execute(
        select(leases.c.touched_at, leases.c.epoch).where(
            leases.c.name == MONITOR_LEASE
        )
    ).one_or_none()
    return {
        **_beats(connection, now),
        "workers_up": len(live),
        "executing": sum(len(row.active) for row in live),
        "workers": _workers(known, live),
        "lanes": _lanes(connection, live, now),
        "dropped": _dropped(connection),
        "monitor_last_sweep_at": seconds_of(swept.touched_at) if swept else None,
        "monitor_changes": swept.epoch if swept else 0,
        "monitor_lag_seconds": _lag_seconds(connection, now),
        "outbox": _outbox(connection, now),
    }


def seconds_of(moment: datetime | None) -> float | None:
    """An instant as seconds since 1970."""
    return None if moment is None else moment.timestamp()


def _age(moment: datetime | None, now: datetime) -> float:
    return 0.0 if moment is None else max(0.0, (now - moment).total_seconds())


def _beats(connection: Connection, now: datetime) -> dict[str, Any]:
    since = now - timedelta(seconds=BEAT_UP_SECONDS)
    rows = connection.execute(select(beats.c.heartbeat_at, beats.c.stopped_at)).all()
    newest = max((row.heartbeat_at for row in rows), default=None)
    return {
        "beats_up": sum(
            row.stopped_at is None and row.heartbeat_at >= since for row in rows
        ),
        "beat_last_tick_at": seconds_of(newest),
    }


def _workers(known: Sequence[Any], live: Sequence[Any]) -> tuple[WorkerNumbers, ...]:
    """The newest row of each name: a worker that restarts keeps its name."""
    alive = {row.id for row in live}
    found: dict[str, WorkerNumbers] = {}
    for row in known:
        if row.hostname in found or len(found) >= MOST_WORKERS:
            continue
        found[row.hostname] = WorkerNumbers(
            name=row.hostname,
            up=row.id in alive,
            heartbeat_at=row.heartbeat_at.timestamp(),
            executing=len(row.active) if row.id in alive else 0,
            spooled=row.spooled,
        )
    return tuple(found.values())


def _lanes(
    connection: Connection, live: Sequence[Any], now: datetime
) -> tuple[LaneNumbers, ...]:
    head = func.min(func.coalesce(runs.c.published_at, runs.c.updated_at))
    waiting = {
        row.lane: row
        for row in connection.execute(
            select(runs.c.lane, func.count().label("n"), head.label("head"))
            .where(runs.c.state == RunState.PUBLISHED)
            .group_by(runs.c.lane)
        )
    }
    depths = {
        row.name: row
        for row in connection.execute(
            select(lane_depths).where(lane_depths.c.seen_at >= now - DEPTH_LASTS)
        )
    }
    serving = Counter(lane for row in live for lane in set(row.lanes))
    names = sorted({*waiting, *depths, *serving})[:MOST_LANES]
    return tuple(
        LaneNumbers(
            name=name,
            waiting=waiting[name].n if name in waiting else 0,
            head_age_seconds=_age(waiting[name].head, now) if name in waiting else 0.0,
            workers=serving[name],
            messages=depths[name].messages if name in depths else None,
            consumers=depths[name].consumers if name in depths else None,
        )
        for name in names
    )


def _dropped(connection: Connection) -> int:
    there = connection.scalar(select(func.coalesce(func.sum(workers.c.dropped), 0)))
    return int(there or 0)


def _lag_seconds(connection: Connection, now: datetime) -> float:
    """For how long the oldest end has waited to be judged."""
    ended_at = func.coalesce(runs.c.finished_at, runs.c.updated_at)
    oldest = connection.scalar(
        select(func.min(ended_at)).where(
            runs.c.counted.is_(False),
            runs.c.state.in_(_FINAL),
            runs.c.provisional.is_(False),
            runs.c.judged < counters.ENDED,
        )
    )
    return _age(oldest, now)


def _outbox(connection: Connection, now: datetime) -> Mapping[str, Queued]:
    """What is to be sent by now: runs by beats, notices and events by monitors."""
    planned = connection.execute(
        select(
            func.count().label("n"), func.min(runs.c.publish_after).label("since")
        ).where(runs.c.state == RunState.PLANNED, runs.c.publish_after <= now)
    ).one()
    found = {"runs": Queued(count=planned.n, age_seconds=_age(planned.since, now))}
    rows = connection.execute(
        select(
            messages.c.kind,
            func.count().label("n"),
            func.min(messages.c.created_at).label("since"),
        )
        .where(messages.c.state == "pending", messages.c.kind.in_(_KINDS))
        .group_by(messages.c.kind)
    )
    for row in rows:
        found[f"{row.kind}s"] = Queued(count=row.n, age_seconds=_age(row.since, now))
    return found
