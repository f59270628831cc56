"""What is so of schedules right now → Prometheus gauges."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric

from metronome_monitoring.snapshot import ScheduleNumbers

STATES = ("active", "paused", "finished", "retired", "broken")

Number = Callable[[ScheduleNumbers], float | None]

#: name, help, number; a schedule without the number has no series
_GAUGES: tuple[tuple[str, str, Number], ...] = (
    (
        "metronome_schedule_enabled",
        "1 while the schedule is active, 0 while it is paused or ended.",
        lambda s: float(s.enabled),
    ),
    (
        "metronome_schedule_next_due_timestamp_seconds",
        "The next due time; none: nothing is due any more.",
        lambda s: s.next_due_at,
    ),
    (
        "metronome_schedule_last_due_timestamp_seconds",
        "The newest due time that was decided.",
        lambda s: s.last_due_at,
    ),
    (
        "metronome_schedule_last_start_timestamp_seconds",
        "When a run last began; 0: never.",
        lambda s: s.last_start_at or 0.0,
    ),
    (
        "metronome_schedule_last_success_timestamp_seconds",
        "When a run last succeeded; 0: never.",
        lambda s: s.last_success_at or 0.0,
    ),
    (
        "metronome_schedule_last_bad_timestamp_seconds",
        "When a run last failed, or a due time was found missed; 0: never.",
        lambda s: s.last_bad_at or 0.0,
    ),
    (
        "metronome_schedule_bad_in_a_row",
        "Its newest runs that went wrong one after the other, missed ones among them.",
        lambda s: s.bad_in_a_row,
    ),
    (
        "metronome_schedule_bad_in_a_row_limit",
        "From how many bad runs in a row on there is an incident.",
        lambda s: s.bad_limit,
    ),
    (
        "metronome_schedule_interval_seconds",
        "From its next due time to the one after; none: there is none.",
        lambda s: s.interval_seconds,
    ),
    (
        "metronome_schedule_late_after_seconds",
        "How long after its firing a run that has not begun is late.",
        lambda s: s.late_after_seconds,
    ),
    (
        "metronome_schedule_no_success_after_seconds",
        "How old its last success may get: twice its interval and its own longest "
        "runtime, and its grace; none: it has no interval.",
        lambda s: s.no_success_after_seconds,
    ),
    (
        "metronome_schedule_max_runtime_seconds",
        "Its longest runtime; none: it has none of its own.",
        lambda s: s.max_runtime_seconds,
    ),
    (
        "metronome_schedule_overdue_seconds",
        "How long a due time past its grace has waited for a beat; 0: none does.",
        lambda s: s.overdue_seconds,
    ),
    (
        "metronome_runs_in_progress",
        "Runs that a worker has begun and not ended.",
        lambda s: s.in_progress,
    ),
    (
        "metronome_runs_waiting",
        "Runs that no worker has begun yet.",
        lambda s: s.waiting,
    ),
    (
        "metronome_runs_stuck",
        "Runs in progress that are stuck.",
        lambda s: s.stuck,
    ),
    (
        "metronome_run_oldest_in_progress_seconds",
        "For how long the oldest run in progress has been; 0: there is none.",
        lambda s: s.oldest_seconds,
    ),
)


def schedule_gauges(schedules: Sequence[ScheduleNumbers]) -> Iterator[Metric]:
    """All of them, in a fixed order."""
    yield _state(schedules)
    for name, said, number in _GAUGES:
        yield _gauge(schedules, name, said, number)


def schedule_info(schedules: Iterable[ScheduleNumbers]) -> Metric:
    """What each schedule is, as labels."""
    said = "What a schedule runs."
    family = InfoMetricFamily("metronome_schedule", said, labels=["schedule"])
    for s in schedules:
        found = {"task": s.task, "lane": s.lane, "state": s.state}
        family.add_metric([s.key], found)
    return family


def _state(schedules: Iterable[ScheduleNumbers]) -> Metric:
    family = GaugeMetricFamily(
        "metronome_schedule_state",
        "1 of the state that the schedule is in, 0 of the others.",
        labels=["schedule", "state"],
    )
    for s in schedules:
        for state in STATES if s.is_one else ():
            family.add_metric([s.key, state], float(s.state == state))
    return family


def _gauge(
    schedules: Iterable[ScheduleNumbers], name: str, said: str, number: Number
) -> Metric:
    family = GaugeMetricFamily(name, said, labels=["schedule"])
    for s in schedules:
        value = number(s)
        if value is not None:
            family.add_metric([s.key], value)
    return family
