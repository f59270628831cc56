"""The numbers of one moment, as plain values: what the metrics are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True, slots=True)
class ScheduleNumbers:
    """One schedule. Instants are seconds since 1970; ``None``: there is none.

    :param is_one: not all of those that share one name.
    :param enabled: whether it is active, that is neither paused nor ended.
    :param follows: it is due whenever a run of another schedule ends.
    :param interval_seconds: from its next due time to the one after.
    :param overdue_seconds: how long its next due time has been waiting for a
        beat, once its grace is over; else 0.
    :param in_progress: its runs that a worker has begun.
    :param waiting: its runs that no worker has begun yet.
    :param oldest_seconds: since when the oldest of those in progress runs.
    :param bad_in_a_row: its newest runs that went wrong, and due times missed by now.
    :param bad_limit: from how many of them on there is an incident.
    """

    key: str
    task: str
    lane: str
    state: str
    enabled: bool
    is_one: bool = True
    follows: bool = False
    next_due_at: float | None = None
    last_due_at: float | None = None
    last_start_at: float | None = None
    last_success_at: float | None = None
    last_bad_at: float | None = None
    interval_seconds: float | None = None
    late_after_seconds: float | None = None
    max_runtime_seconds: float | None = None
    no_success_after_seconds: float | None = None
    overdue_seconds: float = 0.0
    bad_in_a_row: int = 0
    bad_limit: int = 1
    in_progress: int = 0
    waiting: int = 0
    stuck: int = 0
    oldest_seconds: float = 0.0
    sums: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerNumbers:
    """One worker, by its name; ``heartbeat_at`` is in seconds since 1970."""

    name: str
    up: bool
    heartbeat_at: float
    executing: int
    spooled: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class LaneNumbers:
    """One lane, or where dead and unroutable messages lie.

    :param waiting: published runs that no worker has received yet, by SQL.
    :param head_age_seconds: how long the oldest of them has waited.
    :param workers: live workers that serve it.
    :param messages: what the broker holds ready; ``None``: not seen lately.
    :param consumers: who consumes there, as the broker sees it.
    """

    name: str
    waiting: int = 0
    head_age_seconds: float = 0.0
    workers: int = 0
    messages: int | None = None
    consumers: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Queued:
    """What waits in an outbox, and how long its oldest has."""

    count: int = 0
    age_seconds: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """Everything of one moment.

    :param celery: Celery's version.
    :param schedules: those with series of their own, oldest first.
    :param tasks: task → counter → label → value, of the schedules' tasks and others;
        ``attempts_lost`` of the schedules' only.
    :param sums: counter → label → value, of what belongs to no schedule.
    :param incidents_open: kind → open incidents.
    :param dropped: records of workers that nobody could write.
    :param monitor_changes: how often another monitor took over the sweep.
    :param monitor_lag_seconds: how long the oldest ended run waits to be judged.
    :param outbox: ``runs``, ``notices`` and ``events`` that are to be sent by now.
    """

    version: str
    celery: str = ""
    schedules: tuple[ScheduleNumbers, ...] = ()
    tasks: Mapping[str, Mapping[str, Mapping[str, int]]] = field(default_factory=dict)
    sums: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    incidents_open: Mapping[str, int] = field(default_factory=dict)
    beats_up: int = 0
    beat_last_tick_at: float | None = None
    workers_up: int = 0
    executing: int = 0
    monitor_last_sweep_at: float | None = None
    monitor_changes: int = 0
    monitor_lag_seconds: float = 0.0
    workers: tuple[WorkerNumbers, ...] = ()
    lanes: tuple[LaneNumbers, ...] = ()
    dropped: int = 0
    outbox: Mapping[str, Queued] = field(default_factory=dict)
