"""Numbers → Prometheus families. Pure: a snapshot in, families out.

What runs and attempts come to; the rest is in ``schedule_gauges.py`` and
``process_families.py``.

Every series of a schedule is there from its creation, at 0: ``increase()`` does
not see a first event that comes with its series.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric

from metronome_monitoring.buckets import (
    DISPATCH_BUCKETS,
    RUN_DURATION_BUCKETS,
    START_DELAY_BUCKETS,
)
from metronome_monitoring.process_families import build_info, process_families
from metronome_monitoring.schedule_gauges import schedule_gauges, schedule_info
from metronome_monitoring.series import add_histogram, seeded
from metronome_monitoring.snapshot import ScheduleNumbers, Snapshot

OUTCOMES = ("succeeded", "failed", "timed_out", "lost", "expired", "cancelled")
#: What makes runs of a schedule with a cadence, and of one that follows another: their
#: series are always there. Those of backfills are from when the first is asked for.
TRIGGERS = ("auto", "catchup", "manual")
TRIGGERS_OF_FOLLOWERS = ("event", "manual")
MISSED_REASONS = ("scheduler_down", "publish_failed", "unroutable", "expired")
NOT_CAUGHT_UP_REASONS = ("policy", "cap", "outside_window")
SKIPPED_REASONS = ("paused", "retired", "overlap", "window", "max_runs")
FLAGS = ("late", "overrun", "stuck")
ATTEMPT_OUTCOMES = (
    "succeeded", "retried", "failed", "timed_out", "lost", "rejected", "ignored",
    "cancelled",
)  # fmt: skip
LOST_CAUSES = (
    "worker_dead", "vanished", "superseded", "child_killed", "exit", "cold_shutdown",
    "connection",
)  # fmt: skip

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

#: name, help, sum, bounds
_HISTOGRAMS: tuple[tuple[str, str, str, Sequence[float]], ...] = (
    (
        "metronome_dispatch_delay_seconds",
        "From the firing of a run to the broker's confirm of its message.",
        "dispatch_delay",
        DISPATCH_BUCKETS,
    ),
    (
        "metronome_start_delay_seconds",
        "From the firing of a run to the start of its body.",
        "start_delay",
        START_DELAY_BUCKETS,
    ),
)


def families(snapshot: Snapshot) -> Iterator[Metric]:
    """All families of a snapshot, in a fixed order."""
    schedules = snapshot.schedules
    yield build_info(snapshot)
    yield schedule_info(schedules)
    yield _runs(schedules)
    yield _retries(schedules)
    for name, said, sum_name, label, values in _COUNTERS:
        yield _counter(snapshot, name, said, sum_name, label, values)
    yield _lost_causes(snapshot)
    yield from schedule_gauges(schedules)
    for name, said, sum_name, bounds in _HISTOGRAMS:
        yield _histogram(schedules, name, said, sum_name, bounds)
    yield _run_duration(schedules)
    yield _attempt_runtime(snapshot)
    yield from process_families(snapshot)


def _runs(schedules: Iterable[ScheduleNumbers]) -> Metric:
    family = CounterMetricFamily(
        "metronome_runs",
        "Runs that ended, by what made them and outcome; a retry is not an end.",
        labels=["schedule", "task", "trigger", "outcome"],
    )
    for s in schedules:
        for (trigger, outcome), number in _by_trigger(s).items():
            family.add_metric([s.key, s.task, trigger, outcome], number)
    return family


def _by_trigger(s: ScheduleNumbers) -> Mapping[tuple[str, str], int]:
    triggers = TRIGGERS_OF_FOLLOWERS if s.follows else TRIGGERS
    found = Counter(dict.fromkeys(product(triggers, OUTCOMES), 0))
    for label, number in s.sums.get("runs", {}).items():
        # a monitor of the version before, still at work, says the outcome alone
        trigger, _, outcome = label.rpartition(":")
        found[trigger or "auto", outcome] += number
    return found


def _retries(schedules: Iterable[ScheduleNumbers]) -> Metric:
    family = CounterMetricFamily(
        "metronome_retries",
        "Retries of runs; neither redeliveries nor reruns are retries.",
        labels=["schedule", "task"],
    )
    for s in schedules:
        family.add_metric([s.key, s.task], sum(s.sums.get("retries", {}).values()))
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
        for value, number in seeded(sums, values):
            family.add_metric([key, value], number)
    return family


def _lost_causes(snapshot: Snapshot) -> Metric:
    family = CounterMetricFamily(
        "metronome_attempts_lost",
        "Executions that never reported their end, by cause; task is empty for plain "
        "tasks.",
        labels=["task", "cause"],
    )
    lost = "attempts_lost"
    by_task = {"": snapshot.sums.get(lost, {})}
    by_task |= {
        task: sums[lost] for task, sums in snapshot.tasks.items() if lost in sums
    }
    for task, causes in by_task.items():
        for cause, number in seeded(causes, LOST_CAUSES):
            family.add_metric([task, cause], number)
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
        add_histogram(family, [s.key], s.sums, sum_name, bounds)
    return family


def _run_duration(schedules: Iterable[ScheduleNumbers]) -> Metric:
    family = HistogramMetricFamily(
        "metronome_run_duration_seconds",
        "From the start of a run to its end, retries included.",
        labels=["schedule", "outcome"],
    )
    for s in schedules:
        _by_outcome(family, s.key, s.sums, "run_duration")
    return family


def _attempt_runtime(snapshot: Snapshot) -> Metric:
    family = HistogramMetricFamily(
        "metronome_attempt_runtime_seconds",
        "From the start of an attempt to its end; without waits for retries.",
        labels=["task", "outcome"],
    )
    for task, sums in sorted(snapshot.tasks.items()):
        _by_outcome(family, task, sums, "attempt_runtime")
    return family


def _by_outcome(
    family: HistogramMetricFamily,
    of: str,
    sums: Mapping[str, Mapping[str, int]],
    sum_name: str,
) -> None:
    for outcome in ("succeeded", "other"):
        add_histogram(
            family, [of, outcome], sums, sum_name, RUN_DURATION_BUCKETS,
            prefix=f"{outcome}:",
        )  # fmt: skip
