"""What reads answer: frozen values, instants in UTC, durations in seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Generic, TypeVar

Value = TypeVar("Value")


@dataclass(frozen=True, kw_only=True, slots=True)
class Slice(Generic[Value]):
    """A part of a list, and the cursor of the next; ``None`` at the end."""

    items: tuple[Value, ...]
    next_cursor: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ScheduleView:
    """A schedule as its row says, also when the row cannot be planned."""

    id: str
    key: str
    task: str
    args: list[Any]
    kwargs: dict[str, Any]
    cadence: Mapping[str, Any]
    lane: str
    description: str | None
    state: str
    owner: str
    revision: int
    start_at: datetime | None
    end_at: datetime | None
    max_runs: int | None
    jitter_seconds: float
    catchup: str
    catchup_limit: int
    catchup_window_seconds: float
    grace_seconds: float | None
    start_deadline_seconds: float | None
    late_after_seconds: float | None
    max_runtime_seconds: float | None
    overlap: str
    concurrency_key: str | None
    on_lost: str
    bad_in_a_row: int
    good_to_close: int
    options: dict[str, Any]
    next_due_at: datetime | None
    miss_after_at: datetime | None
    last_due_at: datetime | None
    runs_made: int
    paused_at: datetime | None
    paused_by: str | None
    paused_reason: str | None
    error: str | None
    error_at: datetime | None
    declared: Mapping[str, Any] | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class RunView:
    """One run: what was due when, and what became of it."""

    id: str
    schedule_key: str
    origin: str
    due_at: datetime
    fires_at: datetime
    state: str
    reason: str | None
    task: str
    lane: str
    args: list[Any]
    kwargs: dict[str, Any]
    options: dict[str, Any]
    revision: int
    catchup: bool
    missed_from: datetime | None
    missed_to: datetime | None
    missed_count: int
    grace_until: datetime
    late_after_seconds: float
    max_runtime_seconds: float | None
    deadline_at: datetime | None
    on_lost: str
    missed: bool
    provisional: bool
    late: bool
    overrun: bool
    stuck: bool
    planned_at: datetime | None
    published_at: datetime | None
    received_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    runtime_seconds: float | None
    worker: str | None
    attempt_count: int
    retries: int
    duplicates: int
    retry_at: datetime | None
    error: str | None
    error_type: str | None
    publish_tries: int
    publish_error: str | None
    updated_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class AttemptView:
    """One execution of a run by a worker."""

    id: int
    run_id: str | None
    task_id: str
    task: str
    retries: int
    delivery: int
    state: str
    worker: str
    pid: int | None
    redelivered: bool
    started_at: datetime
    ended_at: datetime | None
    runtime_seconds: float | None
    error_type: str | None
    error: str | None
    fingerprint: str | None
    traceback: str | None
    retry_reason: str | None
    retry_at: datetime | None
    lost_cause: str | None
    trace_id: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class ChildView:
    """A task that a run started: it has a result and no run of its own.

    :param state: Celery's word.
    :param parent_id: the task that started it: the run, or another child.
    """

    task_id: str
    task: str | None
    state: str
    parent_id: str | None
    group_id: str | None
    worker: str | None
    retries: int | None
    done_at: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class RunDetail(RunView):
    """A run with its attempts, in the order in which they began, and its children."""

    attempts: tuple[AttemptView, ...]
    children: tuple[ChildView, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Bar:
    """One run in a strip: just what its bar and its title need."""

    id: str
    schedule_id: str
    due_at: datetime
    state: str
    reason: str | None
    missed: bool
    missed_count: int
    late: bool
    retries: int
    started_at: datetime | None
    runtime_seconds: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class BeatView:
    """A beat, by its heartbeat row."""

    id: str
    host: str
    pid: int
    version: str
    started_at: datetime
    heartbeat_at: datetime
    stopped_at: datetime | None
    ticks: int
    planned: int
    published: int
    broker_error: str | None
    alive: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerView:
    """A worker, by its lease row, with the task ids it is executing."""

    id: str
    hostname: str
    pid: int
    version: str
    lanes: list[str]
    started_at: datetime
    heartbeat_at: datetime
    stopped_at: datetime | None
    active: list[str]
    dropped: int
    alive: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class LaneView:
    """A lane: who uses it, who serves it, what is open in it."""

    name: str
    schedules: int
    workers: int
    waiting: int
    running: int


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskView:
    """A task name: the app's, a schedule's, or both."""

    name: str
    registered: bool
    lane: str | None
    schedules: int


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditLine:
    """Who changed what, when; ``task`` is that of the schedule it is about."""

    id: int
    at: datetime
    who: str
    action: str
    subject: str
    detail: Mapping[str, Any] | None
    task: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Durations:
    """How long succeeded runs took, seconds; over the newest ``sample``."""

    sample: int
    p50: float | None = None
    p95: float | None = None
    mean: float | None = None
    longest: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class UnknownPeriod:
    """A span in which nobody was watching; ``to_at`` is ``None`` while it goes on."""

    from_at: datetime
    to_at: datetime | None
    cause: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Stats:
    """What became of the runs due between two instants.

    ``missed`` counts due times, so a range row counts as many as it spans.
    ``success_rate`` is succeeded ÷ ended by itself or missed; ``None`` if none.
    ``unknown_periods`` are those in which nobody was watching.
    """

    since: datetime
    until: datetime
    runs: int
    states: Mapping[str, int]
    missed: int
    late: int
    retries: int
    success_rate: float | None
    durations: Durations | None = None
    unknown_periods: Sequence[UnknownPeriod] = ()


def names_of(kind: type) -> tuple[str, ...]:
    """The field names of one of these values, which are its columns, too."""
    return tuple(field.name for field in fields(kind))
