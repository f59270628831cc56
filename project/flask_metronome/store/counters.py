"""Sums that outlive the rows they were folded from.

A final run and an ended attempt are folded once: their numbers are added and
the row is marked ``counted`` in the same transaction. A reader adds what is
not folded yet, so no sum ever falls, also when history is pruned.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    and_,
    delete,
    or_,
    select,
    update,
)

from flask_metronome.core.run import (
    FINAL,
    AttemptState,
    MissedReason,
    RunState,
    trigger_of,
)
from flask_metronome.models import attempts, counters, runs
from flask_metronome.store.upserts import merge_number
from metronome_monitoring.buckets import (
    DISPATCH_BUCKETS,
    RUN_DURATION_BUCKETS,
    START_DELAY_BUCKETS,
    bucket_label,
)

#: Names in the column ``name``.
RUNS = "runs"
MISSED = "runs_missed"
SKIPPED = "runs_skipped"
FLAGGED = "runs_flagged"
NOT_CAUGHT_UP = "runs_not_caught_up"
RETRIES = "retries"
DUPLICATES = "duplicates"
ATTEMPTS = "attempts"
ATTEMPTS_LOST = "attempts_lost"
REPUBLISHED = "republished"
NOTIFICATIONS = "notifications"
UNKNOWN = "unknown"
UNKNOWN_MS = "unknown_ms"
REDELIVERIES = "redeliveries"
PUBLISH_FAILURES = "publish_failures"
CHORE_FAILURES = "chore_failures"
DROPPED = "records_dropped"
TICK = "tick"
DISPATCH_DELAY = "dispatch_delay"
ATTEMPT_RUNTIME = "attempt_runtime"
START_DELAY = "start_delay"
RUN_DURATION = "run_duration"
#: Not sums but the greatest: milliseconds since 1970.
LAST_SUCCESS_MS = "last_success_ms"
LAST_START_MS = "last_start_ms"
NEWEST = frozenset({LAST_SUCCESS_MS, LAST_START_MS})

#: What beats count, each under its own id: two of them never wait for each other.
OF_BEATS = frozenset({TICK, f"{TICK}_ms", PUBLISH_FAILURES})

#: What catch-up decided about due times that the scheduler had missed.
_DECISIONS = frozenset(
    {MissedReason.POLICY, MissedReason.CAP, MissedReason.OUTSIDE_WINDOW}
)
_FINAL_STATES = sorted(state.value for state in FINAL)
#: How what was begun, or was to be, can end.
OUTCOMES = sorted(FINAL - {RunState.MISSED, RunState.SKIPPED})
_FLAGS = ("late", "overrun", "stuck")
_IN = 500
KEY_CHARACTERS = 190
#: In the column ``judged``: announced as missed while open; its end was judged.
ANNOUNCED, ENDED = 1, 2


class CounterKey(NamedTuple):
    """One sum: its name, whose it is, and its label.

    :param schedule: the schedule's key; of :data:`ATTEMPT_RUNTIME` and
        :data:`ATTEMPTS_LOST` the task, of what beats count a beat's id; empty: of
        nobody in particular.
    :param label: of :data:`RUNS` what made them and their outcome.
    """

    name: str
    schedule: str
    label: str


Sums = Counter[CounterKey]

RUN_COLUMNS = (
    runs.c.id,
    runs.c.schedule_key,
    runs.c.origin,
    runs.c.state,
    runs.c.reason,
    runs.c.missed,
    runs.c.missed_from,
    runs.c.missed_count,
    runs.c.catchup,
    runs.c.grace_until,
    runs.c.published_at,
    runs.c.late,
    runs.c.overrun,
    runs.c.stuck,
    runs.c.retries,
    runs.c.duplicates,
    runs.c.fires_at,
    runs.c.started_at,
    runs.c.finished_at,
)
ATTEMPT_COLUMNS = (
    attempts.c.id,
    attempts.c.state,
    attempts.c.lost_cause,
    attempts.c.task,
    attempts.c.redelivered,
    attempts.c.runtime_seconds,
    runs.c.schedule_key,
    runs.c.lane,
)


def sums_of_run(row: Any) -> Sums:
    """What one run adds to the sums, final or not."""
    sums: Sums = Counter()

    def add(name: str, label: str, number: int = 1) -> None:
        if number:
            sums[CounterKey(name, row.schedule_key, label)] += number

    covered = row.missed_count if row.missed_from is not None else 1
    if row.missed:
        add(MISSED, missed_cause(row), covered)
    if row.state == RunState.MISSED and row.reason in _DECISIONS:
        add(NOT_CAUGHT_UP, row.reason, covered)
    elif row.state == RunState.SKIPPED:
        add(SKIPPED, row.reason or "", covered)
    elif row.state in OUTCOMES:
        trigger = trigger_of(row.origin, catchup=row.catchup)
        add(RUNS, runs_label(trigger, row.state))
    for flag in _FLAGS:
        add(FLAGGED, flag, int(getattr(row, flag)))
    add(RETRIES, "", row.retries)
    add(DUPLICATES, "", row.duplicates)
    sums.update(_durations_of(row))
    return sums


def runs_label(trigger: str, outcome: str) -> str:
    """What a sum of :data:`RUNS` is of."""
    return f"{trigger}:{outcome}"


def missed_cause(row: Any) -> MissedReason:
    """Why a due time was missed at first; it stays the same whatever follows.

    The row's own reason may change: ``policy``, ``cap`` and ``outside_window``
    say what catch-up decided about due times that the scheduler had missed, and
    a run whose publish failed may expire. The sum must not jump between causes.
    """
    if row.catchup or row.reason == MissedReason.SCHEDULER_DOWN:
        return MissedReason.SCHEDULER_DOWN
    if row.reason == MissedReason.UNROUTABLE:
        return MissedReason.UNROUTABLE
    if row.state == RunState.MISSED and row.reason != MissedReason.PUBLISH_FAILED:
        return MissedReason.SCHEDULER_DOWN
    on_time = row.published_at is not None and row.published_at <= row.grace_until
    ended_early = row.finished_at is not None and row.finished_at <= row.grace_until
    if row.state == RunState.EXPIRED and (on_time or ended_early):
        return MissedReason.EXPIRED
    return MissedReason.PUBLISH_FAILED


def durations(
    name: str, of: str, seconds: float, bounds: Sequence[float], *, prefix: str = ""
) -> Sums:
    """One value's share of a histogram: its bucket, and its milliseconds.

    :param prefix: comes before both labels, to tell histograms of one name apart.
    """
    label = prefix + bucket_label(seconds, bounds)
    return Counter(
        {
            CounterKey(name, of, label): 1,
            CounterKey(f"{name}_ms", of, prefix): round(seconds * 1000),
        }
    )


def _outcome(good: bool) -> str:
    """The prefix of a duration's labels: what fails early must not look fast."""
    return "succeeded:" if good else "other:"


def _durations_of(row: Any) -> Sums:
    """The run's share of the histograms: delays, and its duration once final."""
    sums: Sums = Counter()
    key = row.schedule_key
    if row.published_at is not None:
        sent = max(0.0, (row.published_at - row.fires_at).total_seconds())
        sums.update(durations(DISPATCH_DELAY, key, sent, DISPATCH_BUCKETS))
    if row.started_at is None:
        return sums
    delay = max(0.0, (row.started_at - row.fires_at).total_seconds())
    sums.update(durations(START_DELAY, key, delay, START_DELAY_BUCKETS))
    if row.state in _FINAL_STATES and row.finished_at is not None:
        length = max(0.0, (row.finished_at - row.started_at).total_seconds())
        outcome = _outcome(row.state == RunState.SUCCEEDED)
        sums.update(
            durations(RUN_DURATION, key, length, RUN_DURATION_BUCKETS, prefix=outcome)
        )
    return sums


def sums_of_attempt(row: Any) -> Sums:
    """What one ended attempt adds to the sums; a plain task has no schedule."""
    sums: Sums = Counter()
    task = row.task[:KEY_CHARACTERS]
    sums[CounterKey(ATTEMPTS, row.schedule_key or "", row.state)] = 1
    if row.state == AttemptState.LOST:
        # a plain task's first loss would come with its series, and be unseen
        of = task if row.schedule_key else ""
        sums[CounterKey(ATTEMPTS_LOST, of, row.lost_cause or "unknown")] = 1
    if row.redelivered:
        sums[CounterKey(REDELIVERIES, "", row.lane or "")] = 1
    if row.runtime_seconds is not None:
        outcome = _outcome(row.state == AttemptState.SUCCEEDED)
        sums.update(
            durations(
                ATTEMPT_RUNTIME,
                task,
                max(0.0, row.runtime_seconds),
                RUN_DURATION_BUCKETS,
                prefix=outcome,
            )
        )
    return sums


def newest_moments(rows: Iterable[Any]) -> dict[CounterKey, int]:
    """The newest start and success among runs, by schedule, as of :data:`NEWEST`."""
    newest: dict[CounterKey, int] = {}

    def see(name: str, schedule: str, moment: datetime | None) -> None:
        if moment is not None:
            key = CounterKey(name, schedule, "")
            newest[key] = max(int(moment.timestamp() * 1000), newest.get(key, 0))

    for row in rows:
        see(LAST_START_MS, row.schedule_key, row.started_at)
        if row.state == RunState.SUCCEEDED:
            see(LAST_SUCCESS_MS, row.schedule_key, row.finished_at)
    return newest


def fold_runs(connection: Connection, *, batch: int, now: datetime) -> int:
    """Fold final runs; how many. A provisional row waits until a beat decided."""
    rows = connection.execute(
        select(*RUN_COLUMNS)
        .where(
            runs.c.counted.is_(False),
            runs.c.state.in_(_FINAL_STATES),
            runs.c.provisional.is_(False),
            # what is folded is found no more: its end is judged before
            runs.c.judged == ENDED,
        )
        .limit(batch)
        .with_for_update(skip_locked=True)
    ).all()
    sums: Sums = Counter()
    for row in rows:
        sums.update(sums_of_run(row))
    add(connection, sums)
    _merge(connection, newest_moments(rows), highest=True)
    ids = [row.id for row in rows]
    if ids:
        connection.execute(update(runs).where(runs.c.id.in_(ids)).values(counted=True))
    return len(rows)


def fold_attempts(connection: Connection, *, batch: int, now: datetime) -> int:
    """Fold ended attempts; how many."""
    rows = connection.execute(_ended_attempts().limit(batch)).all()
    sums: Sums = Counter()
    for row in rows:
        sums.update(sums_of_attempt(row))
    add(connection, sums)
    ids = [row.id for row in rows]
    if ids:
        connection.execute(
            update(attempts).where(attempts.c.id.in_(ids)).values(counted=True)
        )
    return len(rows)


def add(connection: Connection, sums: Mapping[CounterKey, int]) -> None:
    """Add to the sums inside the caller's transaction."""
    _merge(connection, sums, highest=False)


def hand_over(connection: Connection, beat_ids: Sequence[str]) -> None:
    """Add what these beats counted to what belongs to nobody in particular."""
    if not beat_ids:
        return
    theirs = counters.c.schedule_key.in_(beat_ids)
    rows = connection.execute(select(counters).where(theirs).with_for_update()).all()
    sums: Sums = Counter()
    for row in rows:
        sums[CounterKey(row.name, "", row.label)] += row.value
    add(connection, sums)
    connection.execute(delete(counters).where(theirs))


def _merge(
    connection: Connection, numbers: Mapping[CounterKey, int], *, highest: bool
) -> None:
    # sorted: two writers that lock rows in one order cannot deadlock
    rows = [
        {
            "name": key.name,
            "schedule_key": key.schedule,
            "label": key.label,
            "value": number,
        }
        for key, number in sorted(numbers.items())
        if number
    ]
    for start in range(0, len(rows), _IN):
        part = rows[start : start + _IN]
        merge_number(connection, counters, part, column="value", highest=highest)


def read_sums(connection: Connection) -> tuple[Sums, dict[CounterKey, int]]:
    """Every sum as of now, and the last start and success of each schedule.

    Folded and not yet folded numbers must be read from one snapshot of the
    database: the caller sees to it.
    """
    sums: Sums = Counter()
    newest: dict[CounterKey, int] = {}
    for name, schedule, label, value in connection.execute(
        select(
            counters.c.name,
            counters.c.schedule_key,
            counters.c.label,
            counters.c.value,
        )
    ):
        known = newest if name in NEWEST else sums
        known[CounterKey(name, schedule, label)] = value
    rows = connection.execute(select(*RUN_COLUMNS).where(_adds_to_the_sums())).all()
    for row in rows:
        sums.update(sums_of_run(row))
    for ended in connection.execute(_ended_attempts()):
        sums.update(sums_of_attempt(ended))
    for key, moment in newest_moments(rows).items():
        newest[key] = max(moment, newest.get(key, 0))
    return sums, newest


def _ended_attempts() -> Select[Any]:
    """Attempts that ended and are not folded yet, with their schedule."""
    return (
        select(*ATTEMPT_COLUMNS)
        .select_from(attempts.outerjoin(runs, runs.c.id == attempts.c.run_id))
        .where(attempts.c.counted.is_(False), attempts.c.state != AttemptState.RUNNING)
    )


def _adds_to_the_sums() -> ColumnElement[bool]:
    """Runs not folded that have something to say; an untouched backlog has not."""
    return and_(
        runs.c.counted.is_(False),
        or_(
            runs.c.state.in_(_FINAL_STATES),
            runs.c.missed,
            runs.c.late,
            runs.c.started_at.is_not(None),
            runs.c.duplicates > 0,
        ),
    )
