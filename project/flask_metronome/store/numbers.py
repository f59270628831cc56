"""Reads one snapshot of all numbers for the metrics."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select

from flask_metronome.core.run import LIVE, UNSTARTED
from flask_metronome.models import incidents, runs, schedules, standings
from flask_metronome.store import counters
from flask_metronome.store.incidents import IS_OPEN
from flask_metronome.store.process_numbers import process_numbers, seconds_of
from flask_metronome.store.rhythm import rhythm_of
from metronome_monitoring.snapshot import ScheduleNumbers, Snapshot

#: Schedules with series of their own; the rest shares one name, so that a
#: mistake that makes schedules without end does not drown Prometheus.
MOST_SCHEDULES = 1000
OTHERS = "__other__"
#: Tasks with series of their own.
MOST_TASKS = 200
#: Sums that are by task, not by schedule.
_OF_TASKS = (
    counters.ATTEMPT_RUNTIME,
    f"{counters.ATTEMPT_RUNTIME}_ms",
    counters.ATTEMPTS_LOST,
)
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
    celery: str = "",
    most_schedules: int = MOST_SCHEDULES,
) -> Snapshot:
    """Every number as of ``now``.

    The connection must see one snapshot of the database, else a fold between
    two statements makes a sum fall; :func:`isolate` sees to it.
    """
    sums, moments = counters.read_sums(connection)
    rows = connection.execute(
        select(
            schedules.c.key,
            schedules.c.task,
            schedules.c.lane,
            schedules.c.state,
            schedules.c.next_due_at,
            schedules.c.miss_after_at,
            schedules.c.last_due_at,
            schedules.c.created_at,
            schedules.c.after_key,
            schedules.c.cadence,
            schedules.c.start_at,
            schedules.c.end_at,
            schedules.c.grace_seconds,
            schedules.c.late_after_seconds,
            schedules.c.max_runtime_seconds,
            schedules.c.bad_in_a_row.label("bad_limit"),
            standings.c.bad_in_a_row,
            standings.c.pending,
            standings.c.last_bad_at,
        )
        .select_from(
            schedules.outerjoin(standings, standings.c.schedule_id == schedules.c.id)
        )
        .order_by(schedules.c.created_at, schedules.c.id)
    ).all()
    by_schedule = _by_schedule(sums)
    at_work = _open_runs(connection)
    newest = {key[:2]: moment / 1000 for key, moment in moments.items()}
    numbers = [
        _schedule(row, by_schedule, at_work.get(row.key), newest, now) for row in rows
    ]
    if len(numbers) > most_schedules:
        rest = _together(numbers[most_schedules:])
        numbers = [*numbers[:most_schedules], rest]
    own = zip(numbers, rows[:most_schedules], strict=False)
    numbers[:most_schedules] = [_in_rhythm(known, row) for known, row in own]
    processes = process_numbers(connection, now, lease_seconds)
    processes["dropped"] += sums[counters.CounterKey(counters.DROPPED, "", "")]
    return Snapshot(
        version=version,
        celery=celery,
        schedules=tuple(numbers),
        tasks=_tasks(by_schedule, [row.task for row in rows]),
        sums=_of_nobody(by_schedule),
        incidents_open=_incidents(connection),
        **processes,
    )


def isolate(connection: Connection) -> Connection:
    """Let every statement of this connection see the same moment."""
    if connection.dialect.name == "sqlite":
        return connection
    return connection.execution_options(isolation_level="REPEATABLE READ")


def _by_schedule(sums: Mapping[counters.CounterKey, int]) -> BySchedule:
    found: BySchedule = defaultdict(lambda: defaultdict(Counter))
    for key, value in sums.items():
        found[key.schedule][key.name][key.label] = value
    return found


def _of_nobody(by_schedule: BySchedule) -> dict[str, Counter[str]]:
    """What belongs to no schedule; of what beats count the sum over all of them."""
    found = defaultdict(Counter, by_schedule.get("", {}))
    for key, sums in by_schedule.items():
        if key:
            for name in sums.keys() & counters.OF_BEATS:
                found[name] = found[name] + sums[name]
    return dict(found)


def _tasks(
    by_schedule: BySchedule, scheduled: Sequence[str]
) -> dict[str, Mapping[str, Mapping[str, int]]]:
    """What is counted by task; those beyond the bound share one name.

    :param scheduled: the tasks of schedules, the oldest one's first: they come
        first, so that a new one does not push another's sums among the rest.
    """
    found: dict[str, Mapping[str, Mapping[str, int]]] = {}
    rest: dict[str, Counter[str]] = defaultdict(Counter)
    expected: dict[str, dict[str, Counter[str]]] = {
        # a loss of a plain task is counted for none
        task[: counters.KEY_CHARACTERS]: {counters.ATTEMPTS_LOST: Counter()}
        for task in scheduled
    }
    counted = {
        key: {name: sums[name] for name in _OF_TASKS if name in sums}
        for key, sums in sorted(by_schedule.items())
        if key and not sums.keys().isdisjoint(_OF_TASKS)
    }
    for task in {**expected, **counted}:
        sums = {**expected.get(task, {}), **counted.get(task, {})}
        if len(found) < MOST_TASKS:
            found[task] = sums
            continue
        for name in sums:
            rest[name].update(sums[name])
    return found | ({OTHERS: rest} if rest else {})


@dataclass(kw_only=True, slots=True)
class _AtWork:
    """The open runs of one schedule."""

    in_progress: int = 0
    waiting: int = 0
    stuck: int = 0
    oldest: datetime | None = None


def _open_runs(connection: Connection) -> dict[str, _AtWork]:
    """Runs at work, by schedule; the index on the state keeps history out."""
    rows = connection.execute(
        select(
            runs.c.schedule_key,
            runs.c.state,
            runs.c.stuck,
            func.count().label("n"),
            func.min(runs.c.started_at).label("oldest"),
        )
        .where(runs.c.state.in_([*_LIVE, *_UNSTARTED]))
        .group_by(runs.c.schedule_key, runs.c.state, runs.c.stuck)
    )
    found: dict[str, _AtWork] = defaultdict(_AtWork)
    for row in rows:
        mine = found[row.schedule_key]
        if row.state not in _LIVE:
            mine.waiting += row.n
            continue
        mine.in_progress += row.n
        mine.stuck += row.n if row.stuck else 0
        mine.oldest = min(filter(None, (mine.oldest, row.oldest)), default=None)
    return found


def _schedule(
    row: Any,
    by_schedule: BySchedule,
    at_work: _AtWork | None,
    newest: Mapping[tuple[str, str], float],
    now: datetime,
) -> ScheduleNumbers:
    at_work = at_work or _AtWork()
    age = 0.0 if at_work.oldest is None else (now - at_work.oldest).total_seconds()
    return ScheduleNumbers(
        key=row.key,
        task=row.task,
        lane=row.lane,
        state=row.state,
        enabled=row.state == "active",
        follows=row.after_key is not None,
        next_due_at=seconds_of(row.next_due_at),
        last_due_at=seconds_of(row.last_due_at),
        last_start_at=newest.get((counters.LAST_START_MS, row.key)),
        last_success_at=newest.get((counters.LAST_SUCCESS_MS, row.key)),
        last_bad_at=seconds_of(row.last_bad_at),
        max_runtime_seconds=row.max_runtime_seconds,
        overdue_seconds=_overdue_seconds(row, now),
        bad_in_a_row=(row.bad_in_a_row or 0) + (row.pending or 0),
        bad_limit=row.bad_limit,
        in_progress=at_work.in_progress,
        waiting=at_work.waiting,
        stuck=at_work.stuck,
        oldest_seconds=max(0.0, age),
        sums=by_schedule.get(row.key, {}),
    )


def _in_rhythm(known: ScheduleNumbers, row: Any) -> ScheduleNumbers:
    """With what follows from the cadence; only of those with series of their own."""
    rhythm = rhythm_of(row)
    return replace(
        known,
        interval_seconds=rhythm.interval,
        late_after_seconds=rhythm.late_after,
        no_success_after_seconds=rhythm.no_success_after,
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
        is_one=False,
        enabled=any(m.enabled for m in members),
        next_due_at=min(due, default=None),
        last_start_at=max((m.last_start_at or 0.0 for m in members), default=None),
        last_success_at=max((m.last_success_at or 0.0 for m in members), default=None),
        last_bad_at=max((m.last_bad_at or 0.0 for m in members), default=None),
        bad_in_a_row=max((m.bad_in_a_row for m in members), default=0),
        oldest_seconds=max((m.oldest_seconds for m in members), default=0.0),
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
        .where(IS_OPEN, incidents.c.part_of.is_(None))
        .group_by(incidents.c.kind)
    )
    return {str(kind): int(number) for kind, number in rows}
