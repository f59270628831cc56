"""Numbers → Prometheus families. Pure: a snapshot in, families out.

Every series of a schedule is there from its creation, at 0: ``increase()`` does
not see a first event that comes with its series.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.metrics_core import Metric

from metronome_monitoring.buckets import (
    INFINITE,
    RUN_DURATION_BUCKETS,
    START_DELAY_BUCKETS,
    bound_label,
)
from metronome_monitoring.snapshot import ScheduleNumbers, Snapshot

OUTCOMES = ("succeeded", "failed", "timed_out", "lost", "expired", "cancelled")
MISSED_REASONS = ("scheduler_down", "publish_failed", "unroutable", "expired")
NOT_CAUGHT_UP_REASONS = ("policy", "cap", "outside_window")
SKIPPED_REASONS = ("paused", "overlap", "window", "max_runs")
FLAGS = ("late", "overrun", "stuck")
ATTEMPT_OUTCOMES = (
    "succeeded", "retried", "failed", "timed_out", "lost", "rejected", "ignored",
    "cancelled",
)  # fmt: skip
LOST_CAUSES = (
    "worker_dead", "vanished", "superseded", "child_killed", "exit", "cold_shutdown",
    "connection",
)  # fmt: skip

INCIDENT_KINDS = ("failed", "missed", "stuck", "blocked", "system")
CHANNELS = ("mail", "webhook", "apprise")
SENDING_OUTCOMES = ("sent", "failed", "given_up")

#: name, help, sum, label name, label values that are always there
_COUNTERS: tuple[tuple[str, str, str, str, Sequence[str]], ...] = (
    (
        "metronome_runs_missed",
        "Due times without a confirmed publish within their grace, or whose run "
        "ended before any start, by cause.",
        "runs_missed",
        "reason",
        MISSED_REASONS,
    ),
    (
        "metronome_runs_not_caught_up",
        "Missed due times for which catch-up made no run, by the reason.",
        "runs_not_caught_up",
        "reason",
        NOT_CAUGHT_UP_REASONS,
    ),
    (
        "metronome_runs_skipped",
        "Due times left out on purpose.",
        "runs_skipped",
        "reason",
        SKIPPED_REASONS,
    ),
    (
        "metronome_runs_flagged",
        "Runs that started late, ran longer than their longest runtime, or stuck.",
        "runs_flagged",
        "flag",
        FLAGS,
    ),
    (
        "metronome_attempts",
        "Ended executions by workers; schedule is empty for plain tasks.",
        "attempts",
        "outcome",
        ATTEMPT_OUTCOMES,
    ),
    (
        "metronome_retries",
        "Retries of runs; neither redeliveries nor reruns are retries.",
        "retries",
        "",
        (),
    ),
    (
        "metronome_duplicates",
        "Deliveries of a run that the claim turned away.",
        "duplicates",
        "",
        (),
    ),
    (
        "metronome_runs_republished",
        "Runs whose message was gone and was published again.",
        "republished",
        "",
        (),
    ),
)

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
        "metronome_schedule_last_success_timestamp_seconds",
        "When a run last succeeded; 0: never.",
        lambda s: s.last_success_at or 0.0,
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
)


def families(snapshot: Snapshot) -> Iterator[Metric]:
    """All families of a snapshot, in a fixed order."""
    schedules = snapshot.schedules
    yield _build_info(snapshot)
    yield _schedule_info(schedules)
    yield _runs(schedules)
    for name, said, sum_name, label, values in _COUNTERS:
        yield _counter(snapshot, name, said, sum_name, label, values)
    yield _lost_causes(snapshot)
    for name, said, number in _GAUGES:
        yield _gauge(schedules, name, said, number)
    yield _histogram(
        schedules,
        "metronome_start_delay_seconds",
        "From the firing of a run to the start of its body.",
        "start_delay",
        START_DELAY_BUCKETS,
    )
    yield _histogram(
        schedules,
        "metronome_run_duration_seconds",
        "From the start of a run to its end, retries included.",
        "run_duration",
        RUN_DURATION_BUCKETS,
    )
    yield _incidents(snapshot)
    yield _notifications(snapshot)
    yield from _processes(snapshot)


def _build_info(snapshot: Snapshot) -> Metric:
    family = InfoMetricFamily("metronome_build", "The version that answers.")
    python = platform.python_version()
    family.add_metric([], {"version": snapshot.version, "python": python})
    return family


def _schedule_info(schedules: Iterable[ScheduleNumbers]) -> Metric:
    said = "What a schedule runs."
    family = InfoMetricFamily("metronome_schedule", said, labels=["schedule"])
    for s in schedules:
        found = {"task": s.task, "lane": s.lane, "state": s.state}
        family.add_metric([s.key], found)
    return family


def _runs(schedules: Iterable[ScheduleNumbers]) -> Metric:
    family = CounterMetricFamily(
        "metronome_runs",
        "Runs that ended, by outcome; a retry is not an end.",
        labels=["schedule", "task", "outcome"],
    )
    for s in schedules:
        for outcome, number in _seeded(s.sums.get("runs", {}), OUTCOMES):
            family.add_metric([s.key, s.task, outcome], number)
    return family


def _counter(
    snapshot: Snapshot,
    name: str,
    said: str,
    sum_name: str,
    label: str,
    values: Sequence[str],
) -> Metric:
    labels = ["schedule", label] if label else ["schedule"]
    family = CounterMetricFamily(name, said, labels=labels)
    plain = snapshot.sums.get(sum_name)
    everyone = [(s.key, s.sums.get(sum_name, {})) for s in snapshot.schedules]
    everyone += [] if plain is None else [("", plain)]
    for key, sums in everyone:
        if not label:
            family.add_metric([key], sum(sums.values()))
            continue
        for value, number in _seeded(sums, values):
            family.add_metric([key, value], number)
    return family


def _lost_causes(snapshot: Snapshot) -> Metric:
    family = CounterMetricFamily(
        "metronome_attempts_lost",
        "Executions that never reported their end, by cause.",
        labels=["cause"],
    )
    for cause, number in _seeded(snapshot.sums.get("attempts_lost", {}), LOST_CAUSES):
        family.add_metric([cause], number)
    return family


def _seeded(
    sums: Mapping[str, int], values: Sequence[str]
) -> Iterator[tuple[str, int]]:
    for value in values:
        yield value, sums.get(value, 0)
    for value in sorted(sums.keys() - set(values)):
        yield value or "other", sums[value]


def _gauge(
    schedules: Iterable[ScheduleNumbers], name: str, said: str, number: Number
) -> Metric:
    family = GaugeMetricFamily(name, said, labels=["schedule"])
    for s in schedules:
        value = number(s)
        if value is not None:
            family.add_metric([s.key], value)
    return family


def _histogram(
    schedules: Iterable[ScheduleNumbers],
    name: str,
    said: str,
    sum_name: str,
    bounds: Sequence[float],
) -> Metric:
    family = HistogramMetricFamily(name, said, labels=["schedule"])
    for s in schedules:
        counts = s.sums.get(sum_name, {})
        total = 0
        buckets: list[tuple[str, float]] = []
        for bound in [*(bound_label(b) for b in bounds), INFINITE]:
            total += counts.get(bound, 0)
            buckets.append((bound, total))
        milliseconds = sum(s.sums.get(sum_name + "_ms", {}).values())
        family.add_metric([s.key], buckets=buckets, sum_value=milliseconds / 1000)
    return family


def _incidents(snapshot: Snapshot) -> Metric:
    family = GaugeMetricFamily(
        "metronome_incidents_open",
        "Incidents that are open now, acknowledged ones among them, by kind.",
        labels=["kind"],
    )
    for kind, number in _seeded(snapshot.incidents_open, INCIDENT_KINDS):
        family.add_metric([kind], number)
    return family


def _notifications(snapshot: Snapshot) -> Metric:
    family = CounterMetricFamily(
        "metronome_notifications",
        "Tries to send a notification, by channel and outcome.",
        labels=["channel", "outcome"],
    )
    values = [f"{channel}:{end}" for channel in CHANNELS for end in SENDING_OUTCOMES]
    for label, number in _seeded(snapshot.sums.get("notifications", {}), values):
        channel, _, outcome = label.partition(":")
        family.add_metric([channel, outcome], number)
    return family


def _processes(snapshot: Snapshot) -> Iterator[Metric]:
    numbers: tuple[tuple[str, str, float], ...] = (
        ("metronome_beats_up", "Beats that live.", snapshot.beats_up),
        (
            "metronome_beat_last_tick_timestamp_seconds",
            "When any beat last ticked; 0: never.",
            snapshot.beat_last_tick_at or 0.0,
        ),
        ("metronome_workers_up", "Workers that live.", snapshot.workers_up),
        (
            "metronome_workers_executing",
            "Tasks that live workers said they execute.",
            snapshot.executing,
        ),
        (
            "metronome_monitor_last_sweep_timestamp_seconds",
            "When a monitor last swept; 0: never.",
            snapshot.monitor_last_sweep_at or 0.0,
        ),
    )
    for name, said, value in numbers:
        yield GaugeMetricFamily(name, said, value=value)
