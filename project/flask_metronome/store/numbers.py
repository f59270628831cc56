"""Reads one snapshot of all numbers for the metrics."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, select

from flask_metronome.core.incident import IncidentState
from flask_metronome.core.run import LIVE, UNSTARTED
from flask_metronome.models import (
    beats,
    incidents,
    leases,
    runs,
    schedules,
    workers,
)
from flask_metronome.store import counters
from metronome_monitoring.snapshot import ScheduleNumbers, Snapshot

#: Schedules with series of their own; the rest shares one name, so that a
#: mistake that makes schedules without end does not drown Prometheus.
MOST_SCHEDULES = 1000
OTHERS = "__other__"
#: A beat is up while its heartbeat is at most this old.
BEAT_UP_SECONDS = 15.0
_LIVE = sorted(state.value for state in LIVE)
_UNSTARTED = sorted(state.value for state in UNSTARTED)

#: schedule key → counter → label → value
BySchedule = dict[str, dict[str, Counter[str]]]


def read_snapshot(
    connection: Connection,
    *,
    now: datetime,
    version: str,
    lease_seconds: float,
    monitor_lease: str,
    most_schedules: int = MOST_SCHEDULES,
) -> Snapshot:
    """Every number as of ``now``.

    The connection must see one snapshot of the database, else a fold between
    two statements makes a sum fall; :func:`isolate` sees to it.
    """
    sums, successes = counters.read_sums(connection)
    rows = connection.execute(
        select(
            schedules.c.key,
            schedules.c.task,
            schedules.c.lane,
            schedules.c.state,
            schedules.c.next_due_at,
            schedules.c.miss_after_at,
            schedules.c.last_due_at,
        ).order_by(schedules.c.created_at, schedules.c.id)
    ).all()
    by_schedule = _by_schedule(sums)
    at_work = _open_runs(connection)
    newest = {key.schedule: moment for key, moment in successes.items()}
    numbers = [
        _schedule(row, by_schedule, at_work, newest.get(row.key), now) for row in rows
    ]
    if len(numbers) > most_schedules:
        rest = _together(numbers[most_schedules:])
        numbers = [*numbers[:most_schedules], rest]
    return Snapshot(
        version=version,
        schedules=tuple(numbers),
        sums=by_schedule.get("", {}),
        incidents_open=_incidents(connection),
        **_processes(connection, now, lease_seconds, monitor_lease),
    )


def isolate(connection: Connection) -> Connection:
    """Let every statement of this connection see the same moment."""
    if connection.dialect.name == "sqlite":
        return connection
    return connection.execution_options(isolation_level="REPEATABLE READ")


def _by_schedule(sums: Mapping[counters.CounterKey, int]) -> BySchedule:
    found: BySchedule = defaultdict(lambda: defaultdict(Counter))
    for key, value in sums.items():
        if key.name != counters.LAST_SUCCESS_MS:
            found[key.schedule][key.name][key.label] = value
    return found


def _open_runs(connection: Connection) -> dict[str, Counter[str]]:
    """Runs at work, by schedule; the index on the state keeps history out."""
    rows = connection.execute(
        select(runs.c.schedule_key, runs.c.state, runs.c.stuck, func.count().label("n"))
        .where(runs.c.state.in_([*_LIVE, *_UNSTARTED]))
        .group_by(runs.c.schedule_key, runs.c.state, runs.c.stuck)
    )
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        at_work = row.state in _LIVE
        found[row.schedule_key]["in_progress" if at_work else "waiting"] += row.n
        if at_work and row.stuck:
            found[row.schedule_key]["stuck"] += row.n
    return found


def _schedule(
    row: Any,
    by_schedule: BySchedule,
    at_work: Mapping[str, Counter[str]],
    last_success_ms: int | None,
    now: datetime,
) -> ScheduleNumbers:
    open_runs = at_work.get(row.key, Counter())
    return ScheduleNumbers(
        key=row.key,
        task=row.task,
        lane=row.lane,
        state=row.state,
        enabled=row.state == "active",
        next_due_at=_seconds(row.next_due_at),
        last_due_at=_seconds(row.last_due_at),
        last_success_at=None if last_success_ms is None else last_success_ms / 1000,
        overdue_seconds=_overdue_seconds(row, now),
        in_progress=open_runs["in_progress"],
        waiting=open_runs["waiting"],
        stuck=open_runs["stuck"],
        sums=by_schedule.get(row.key, {}),
    )


def _overdue_seconds(row: Any, now: datetime) -> float:
    missing = row.state == "active" and row.next_due_at and row.miss_after_at
    if not missing or row.miss_after_at >= now:
        return 0.0
    return float((now - row.next_due_at).total_seconds())


def _together(rest: Iterable[ScheduleNumbers]) -> ScheduleNumbers:
    """All schedules beyond the bound as one."""
    members = list(rest)
    sums: dict[str, Counter[str]] = defaultdict(Counter)
    for member in members:
        for name, labels in member.sums.items():
            sums[name].update(labels)
    due = [m.next_due_at for m in members if m.next_due_at is not None]
    return ScheduleNumbers(
        key=OTHERS,
        task=OTHERS,
        lane=OTHERS,
        state="active",
        enabled=any(m.enabled for m in members),
        next_due_at=min(due, default=None),
        last_success_at=max((m.last_success_at or 0.0 for m in members), default=None),
        overdue_seconds=max((m.overdue_seconds for m in members), default=0.0),
        in_progress=sum(m.in_progress for m in members),
        waiting=sum(m.waiting for m in members),
        stuck=sum(m.stuck for m in members),
        sums=sums,
    )


def _incidents(connection: Connection) -> dict[str, int]:
    """Open incidents by kind; those that are part of another are that one."""
    rows = connection.execute(
        select(incidents.c.kind, func.count())
        .where(incidents.c.state != IncidentState.CLOSED, incidents.c.part_of.is_(None))
        .group_by(incidents.c.kind)
    )
    return {str(kind): int(number) for kind, number in rows}


def _processes(
    connection: Connection, now: datetime, lease_seconds: float, monitor_lease: str
) -> dict[str, Any]:
    beat_since = now - timedelta(seconds=BEAT_UP_SECONDS)
    worker_since = now - timedelta(seconds=3 * lease_seconds)
    beat_rows = connection.execute(
        select(beats.c.heartbeat_at, beats.c.stopped_at)
    ).all()
    active = connection.scalars(
        select(workers.c.active).where(
            workers.c.heartbeat_at >= worker_since, workers.c.stopped_at.is_(None)
        )
    ).all()
    swept = connection.scalar(
        select(leases.c.touched_at).where(leases.c.name == monitor_lease)
    )
    ticks = [row.heartbeat_at for row in beat_rows]
    return {
        "beats_up": sum(
            row.stopped_at is None and row.heartbeat_at >= beat_since
            for row in beat_rows
        ),
        "beat_last_tick_at": _seconds(max(ticks, default=None)),
        "workers_up": len(active),
        "executing": sum(len(listed) for listed in active),
        "monitor_last_sweep_at": _seconds(swept),
    }


def _seconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()
