"""The numbers of one moment, as plain values: what the metrics are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True, slots=True)
class ScheduleNumbers:
    """One schedule. Instants are seconds since 1970; ``None``: there is none.

    :param enabled: whether it is active, that is neither paused nor ended.
    :param overdue_seconds: how long its next due time has been waiting for a
        beat, once its grace is over; else 0.
    :param in_progress: its runs that a worker has begun.
    :param waiting: its runs that no worker has begun yet.
    """

    key: str
    task: str
    lane: str
    state: str
    enabled: bool
    next_due_at: float | None = None
    last_due_at: float | None = None
    last_success_at: float | None = None
    overdue_seconds: float = 0.0
    in_progress: int = 0
    waiting: int = 0
    stuck: int = 0
    sums: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """Everything of one moment.

    :param schedules: those with series of their own, oldest first.
    :param sums: counter → label → value, of what belongs to no schedule.
    :param incidents_open: kind → open incidents.
    """

    version: str
    schedules: tuple[ScheduleNumbers, ...] = ()
    sums: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    incidents_open: Mapping[str, int] = field(default_factory=dict)
    beats_up: int = 0
    beat_last_tick_at: float | None = None
    workers_up: int = 0
    executing: int = 0
    monitor_last_sweep_at: float | None = None
