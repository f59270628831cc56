"""Beats, workers, lanes, the monitor, outboxes and incidents → Prometheus families."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.metrics_core import Metric

from metronome_monitoring.buckets import DISPATCH_BUCKETS
from metronome_monitoring.series import add_histogram, seeded
from metronome_monitoring.snapshot import LaneNumbers, Queued, Snapshot, WorkerNumbers

INCIDENT_KINDS = ("failed", "missed", "stuck", "blocked", "system")
CHANNELS = ("mail", "webhook", "apprise")
SENDING_OUTCOMES = ("sent", "failed", "given_up")
UNKNOWN_CAUSES = ("no_monitor", "no_database")
PUBLISH_FAILURES = ("unknown", "nacked", "returned")
#: Lanes with a series of their own.
MOST_LANES = 200
OUTBOXES = ("runs", "notices", "events")
CHORES = (
    "settled", "overdue", "unpublished", "expired", "late", "limits", "overrun",
    "stuck", "lost", "returned", "pending", "judged", "stuck_told", "broken_told",
    "over", "missed_told", "lanes", "notified", "runs_folded", "attempts_folded",
    "runs_pruned", "attempts_pruned", "results_pruned", "processes_pruned",
    "incidents_pruned", "messages_pruned",
)  # fmt: skip

#: name, help, number
_GAUGES: tuple[tuple[str, str, Callable[[Snapshot], float]], ...] = (
    ("metronome_beats_up", "Beats that live.", lambda s: s.beats_up),
    (
        "metronome_beat_last_tick_timestamp_seconds",
        "When any beat last ticked; 0: never.",
        lambda s: s.beat_last_tick_at or 0.0,
    ),
    ("metronome_workers_up", "Workers that live.", lambda s: s.workers_up),
    (
        "metronome_workers_executing",
        "Tasks that live workers said they execute.",
        lambda s: s.executing,
    ),
    (
        "metronome_monitor_last_sweep_timestamp_seconds",
        "When a monitor last swept; 0: never.",
        lambda s: s.monitor_last_sweep_at or 0.0,
    ),
    (
        "metronome_monitor_lag_seconds",
        "For how long the oldest run that ended has waited to be judged.",
        lambda s: s.monitor_lag_seconds,
    ),
)

#: name, help, sum, label name, label values that are always there
_COUNTERS: tuple[tuple[str, str, str, str, tuple[str, ...]], ...] = (
    (
        "metronome_publish_failures",
        "Publishes that the broker did not confirm, refused or returned.",
        "publish_failures",
        "reason",
        PUBLISH_FAILURES,
    ),
    (
        "metronome_unknown_periods",
        "Spans in which nobody was watching, by cause.",
        "unknown",
        "cause",
        UNKNOWN_CAUSES,
    ),
    (
        "metronome_monitor_chore_failures",
        "Chores of sweeps that met an error.",
        "chore_failures",
        "chore",
        CHORES,
    ),
)

LaneNumber = Callable[[LaneNumbers], float | None]
WorkerNumber = Callable[[WorkerNumbers], float]

_LANE_GAUGES: tuple[tuple[str, str, LaneNumber], ...] = (
    (
        "metronome_lane_messages",
        "Messages ready in the broker, seen by a monitor within the last minute.",
        lambda lane: lane.messages,
    ),
    (
        "metronome_lane_consumers",
        "Consumers of the lane's queue, seen by a monitor within the last minute.",
        lambda lane: lane.consumers,
    ),
    (
        "metronome_lane_waiting",
        "Runs that were published and not received yet.",
        lambda lane: lane.waiting,
    ),
    (
        "metronome_lane_head_age_seconds",
        "For how long the oldest of them has waited; 0: none does.",
        lambda lane: lane.head_age_seconds,
    ),
    (
        "metronome_lane_workers",
        "Live workers that serve the lane.",
        lambda lane: lane.workers,
    ),
)

_WORKER_GAUGES: tuple[tuple[str, str, WorkerNumber], ...] = (
    (
        "metronome_worker_up",
        "1 while the worker lives; gone an hour after its last sign of life.",
        lambda worker: float(worker.up),
    ),
    (
        "metronome_worker_last_heartbeat_timestamp_seconds",
        "When the worker last said that it lives.",
        lambda worker: worker.heartbeat_at,
    ),
    (
        "metronome_worker_executing",
        "Tasks that the worker said it executes.",
        lambda worker: worker.executing,
    ),
    (
        "metronome_spool_records",
        "Records in the worker's spool when it last said that it lives; workers that "
        "share a data folder say the same.",
        lambda worker: worker.spooled,
    ),
)

_OUTBOX_GAUGES: tuple[tuple[str, str, Callable[[Queued], float]], ...] = (
    (
        "metronome_outbox_messages",
        "What is to be sent by now and is not: runs, notices, events.",
        lambda queued: queued.count,
    ),
    (
        "metronome_outbox_oldest_seconds",
        "For how long the oldest of them has waited.",
        lambda queued: queued.age_seconds,
    ),
)


def build_info(snapshot: Snapshot) -> Metric:
    """Versions."""
    family = InfoMetricFamily("metronome_build", "The version that answers.")
    versions = {
        "version": snapshot.version,
        "celery": snapshot.celery,
        "python": platform.python_version(),
    }
    family.add_metric([], versions)
    return family


def process_families(snapshot: Snapshot) -> Iterator[Metric]:
    """Everything that belongs to no schedule, in a fixed order."""
    yield _incidents(snapshot)
    yield _notifications(snapshot)
    for name, said, number in _GAUGES:
        yield GaugeMetricFamily(name, said, value=number(snapshot))
    for name, said, sum_name, label, values in _COUNTERS:
        counted = CounterMetricFamily(name, said, labels=[label])
        for value, number_of in seeded(snapshot.sums.get(sum_name, {}), values):
            counted.add_metric([value], number_of)
        yield counted
    yield from _totals(snapshot)
    ticks = HistogramMetricFamily(
        "metronome_tick_duration_seconds", "How long a beat's tick took."
    )
    add_histogram(ticks, [], snapshot.sums, "tick", DISPATCH_BUCKETS)
    yield ticks
    yield from _each(snapshot.lanes, "lane", _LANE_GAUGES)
    yield _redeliveries(snapshot)
    yield from _each(snapshot.workers, "worker", _WORKER_GAUGES)
    for name, said, of in _OUTBOX_GAUGES:
        family = GaugeMetricFamily(name, said, labels=["outbox"])
        for outbox in OUTBOXES:
            family.add_metric([outbox], of(snapshot.outbox.get(outbox, Queued())))
        yield family


def _each(
    members: Iterable[LaneNumbers] | Iterable[WorkerNumbers],
    label: str,
    gauges: Iterable[tuple[str, str, Callable[..., float | None]]],
) -> Iterator[Metric]:
    for name, said, number in gauges:
        family = GaugeMetricFamily(name, said, labels=[label])
        for member in members:
            value = number(member)
            if value is not None:
                family.add_metric([member.name], value)
        yield family


def _totals(snapshot: Snapshot) -> Iterator[Metric]:
    unknown = CounterMetricFamily(
        "metronome_unknown_seconds",
        "For how long nobody was watching, by cause.",
        labels=["cause"],
    )
    lengths = snapshot.sums.get("unknown_ms", {})
    for cause, milliseconds in seeded(lengths, UNKNOWN_CAUSES):
        unknown.add_metric([cause], milliseconds / 1000)
    yield unknown
    yield CounterMetricFamily(
        "metronome_monitor_changes",
        "How often another monitor took over the sweep.",
        value=snapshot.monitor_changes,
    )
    yield CounterMetricFamily(
        "metronome_records_dropped",
        "Records of workers that could be written neither to SQL nor to the spool.",
        value=snapshot.dropped,
    )


def _redeliveries(snapshot: Snapshot) -> Metric:
    family = CounterMetricFamily(
        "metronome_redeliveries",
        "Ended attempts whose message the broker had delivered before.",
        labels=["lane"],
    )
    sums = snapshot.sums.get("redeliveries", {})
    names = sorted({*sums, *(lane.name for lane in snapshot.lanes)})
    for lane in names[:MOST_LANES]:
        family.add_metric([lane], sums.get(lane, 0))
    if rest := [sums.get(lane, 0) for lane in names[MOST_LANES:]]:
        family.add_metric(["__other__"], sum(rest))
    return family


def _incidents(snapshot: Snapshot) -> Metric:
    family = GaugeMetricFamily(
        "metronome_incidents_open",
        "Incidents that are open now, acknowledged ones among them, by kind.",
        labels=["kind"],
    )
    for kind, number in seeded(snapshot.incidents_open, INCIDENT_KINDS):
        family.add_metric([kind], number)
    return family


def _notifications(snapshot: Snapshot) -> Metric:
    family = CounterMetricFamily(
        "metronome_notifications",
        "Tries to send a notification, by channel and outcome.",
        labels=["channel", "outcome"],
    )
    values = [f"{channel}:{end}" for channel in CHANNELS for end in SENDING_OUTCOMES]
    for label, number in seeded(snapshot.sums.get("notifications", {}), values):
        channel, _, outcome = label.partition(":")
        family.add_metric([channel, outcome], number)
    return family
