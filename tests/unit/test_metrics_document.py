"""The page of metrics is what is exported.

After a change: ``python tests/unit/test_metrics_document.py > docs/metrics.md``.
"""

from __future__ import annotations

from pathlib import Path

from prometheus_client.metrics_core import Metric

from metronome_monitoring.collector import MetronomeCollector
from metronome_monitoring.snapshot import (
    LaneNumbers,
    ScheduleNumbers,
    Snapshot,
    WorkerNumbers,
)

ROOT = Path(__file__).parents[2]
HEAD = """\
# Metrics

At `/metronome/metrics` and on Flower's `/metrics`, for Prometheus. Read from SQL: every
replica says the same, whatever forks or restarts, and no sum falls when history is
pruned; so join replicas by `max`. At most 1,000 schedules have series of their own, and
200 tasks, lanes and workers each; the rest of the schedules and tasks is `__other__`.

All series of a schedule are there from its creation, at 0, and by `trigger` those of
`auto`, `catchup` and `manual`; of a schedule that follows another one `event` and
`manual`; those of `backfill` from when the first backfill is asked for.

Buckets in seconds: dispatch and ticks .05 .1 .25 .5 1 2.5 5 10 30 60 300; start delay
.1 .5 1 2.5 5 10 30 60 120 300 600 1800 3600; durations these, 7200 and 14400.

| metric | type | labels | says |
|---|---|---|---|
"""


def families() -> list[Metric]:
    """Each family, with one member of everything that has series."""
    schedule = ScheduleNumbers(
        key="a", task="t", lane="l", state="active", enabled=True,
        next_due_at=2.0, last_due_at=1.0, max_runtime_seconds=60.0,
        interval_seconds=1.0, late_after_seconds=15.0, no_success_after_seconds=152.0,
    )  # fmt: skip
    snapshot = Snapshot(
        version="1",
        schedules=(schedule,),
        tasks={"t": {"attempts_lost": {}}},
        lanes=(LaneNumbers(name="l", messages=0, consumers=0),),
        workers=(WorkerNumbers(name="w", up=True, heartbeat_at=1.0, executing=0),),
    )
    return list(MetronomeCollector(lambda: snapshot).collect())


def page() -> str:
    """The page as it must be."""
    lines = []
    for family in families():
        labels = [name for name in family.samples[0].labels if name != "le"]
        suffix = {"counter": "_total", "info": "_info"}.get(family.type, "")
        name = f"`{family.name}{suffix}`"
        shown = ", ".join(labels) or "–"
        lines.append(f"| {name} | {family.type} | {shown} | {family.documentation} |\n")
    return HEAD + "".join(lines)


def test_the_page_is_what_is_exported() -> None:
    assert (ROOT / "docs/metrics.md").read_text() == page()


if __name__ == "__main__":
    print(page(), end="")
