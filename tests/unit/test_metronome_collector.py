"""Numbers → text that Prometheus reads back."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from metronome_monitoring.buckets import (
    RUN_DURATION_BUCKETS,
    START_DELAY_BUCKETS,
    bucket_label,
)
from metronome_monitoring.collector import MetronomeCollector
from metronome_monitoring.families import OUTCOMES
from metronome_monitoring.password import kept_password
from metronome_monitoring.schedule_gauges import STATES
from metronome_monitoring.snapshot import ScheduleNumbers, Snapshot

NEW = ScheduleNumbers(
    key='odd "key"\\', task="shop.tick", lane="default", state="active", enabled=True
)


def _text(snapshot: Snapshot) -> str:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(MetronomeCollector(lambda: snapshot))
    return generate_latest(registry).decode()


def _families(snapshot: Snapshot) -> dict[str, Metric]:
    parsed = text_string_to_metric_families(_text(snapshot))
    return {family.name: family for family in parsed}


def _value(families: dict[str, Metric], sample_name: str, **labels: str) -> float:
    found = [
        sample.value
        for family in families.values()
        for sample in family.samples
        if sample.name == sample_name and labels.items() <= sample.labels.items()
    ]
    assert len(found) == 1, (sample_name, labels, found)
    return float(found[0])


def test_all_series_of_a_new_schedule_are_there_at_zero() -> None:
    families = _families(
        Snapshot(
            version="1.2",
            schedules=(NEW,),
            tasks={"shop.tick": {"attempts_lost": {}}, "plain": {}},
        )
    )
    for trigger, outcome in product(("auto", "catchup", "manual"), OUTCOMES):
        labels = {"schedule": NEW.key, "trigger": trigger, "outcome": outcome}
        labels["task"] = "shop.tick"
        assert _value(families, "metronome_runs_total", **labels) == 0
    for name, label, values in (
        ("metronome_runs_missed_total", "reason", ("scheduler_down", "expired")),
        ("metronome_runs_skipped_total", "reason", ("paused", "overlap")),
        ("metronome_runs_flagged_total", "flag", ("late", "overrun", "stuck")),
        ("metronome_attempts_total", "outcome", ("retried", "lost", "succeeded")),
    ):
        for value in values:
            labels = {"schedule": NEW.key, label: value}
            assert _value(families, name, **labels) == 0
    for name in (
        "metronome_retries_total",
        "metronome_duplicates_total",
        "metronome_runs_republished_total",
        "metronome_runs_in_progress",
        "metronome_schedule_overdue_seconds",
        "metronome_schedule_last_success_timestamp_seconds",
        "metronome_start_delay_seconds_count",
    ):
        assert _value(families, name, schedule=NEW.key) == 0
    for outcome in ("succeeded", "other"):
        labels = {"schedule": NEW.key, "outcome": outcome}
        assert _value(families, "metronome_run_duration_seconds_sum", **labels) == 0
    causes = families["metronome_attempts_lost"].samples
    assert {sample.labels["task"] for sample in causes} == {"shop.tick", ""}
    for task in ("shop.tick", ""):
        labels = {"task": task, "cause": "vanished"}
        assert _value(families, "metronome_attempts_lost_total", **labels) == 0


def test_numbers_come_out_as_they_went_in() -> None:
    schedule = ScheduleNumbers(
        key="a",
        task="t",
        lane="l",
        state="paused",
        enabled=False,
        next_due_at=1_767_268_800.25,
        last_success_at=5.0,
        in_progress=2,
        sums={
            # the first as a version before counted it
            "runs": {"failed": 1, "auto:failed": 2, "backfill:failed": 7},
            "retries": {"": 4},
            "runs_missed": {"scheduler_down": 7},
            "attempts": {"retried": 4, "odd": 1},
        },
    )
    families = _families(
        Snapshot(
            version="1",
            schedules=(schedule,),
            sums={"attempts": {"failed": 9}, "attempts_lost": {"exit": 2}},
            tasks={"t": {"attempts_lost": {"exit": 4}}},
            beats_up=2,
            workers_up=3,
            beat_last_tick_at=11.0,
        )
    )
    for trigger, number in (("auto", 3), ("backfill", 7), ("manual", 0)):
        failed = {"trigger": trigger, "outcome": "failed"}
        assert _value(families, "metronome_runs_total", **failed) == number
    assert _value(families, "metronome_retries_total", schedule="a", task="t") == 4
    missed = {"schedule": "a", "reason": "scheduler_down"}
    assert _value(families, "metronome_runs_missed_total", **missed) == 7
    odd = {"schedule": "a", "outcome": "odd"}
    assert _value(families, "metronome_attempts_total", **odd) == 1
    plain = {"schedule": "", "outcome": "failed"}
    assert _value(families, "metronome_attempts_total", **plain) == 9
    for task, number in (("", 2), ("t", 4)):
        lost = {"task": task, "cause": "exit"}
        assert _value(families, "metronome_attempts_lost_total", **lost) == number
    assert _value(families, "metronome_schedule_enabled", schedule="a") == 0
    due = _value(
        families, "metronome_schedule_next_due_timestamp_seconds", schedule="a"
    )
    assert due == 1_767_268_800.25
    assert _value(families, "metronome_beats_up") == 2
    assert _value(families, "metronome_workers_up") == 3
    assert _value(families, "metronome_database_up") == 1
    info = _value(
        families, "metronome_schedule_info", schedule="a", task="t", state="paused"
    )
    assert info == 1


def test_one_that_follows_another_has_the_series_of_events() -> None:
    schedules = (replace(NEW, follows=True),)
    families = _families(Snapshot(version="1", schedules=schedules))
    found = {sample.labels["trigger"] for sample in families["metronome_runs"].samples}
    assert found == {"event", "manual"}


def test_a_schedule_is_in_one_state_and_the_rest_together_in_none() -> None:
    rest = replace(NEW, key="__other__", is_one=False)
    paused = replace(NEW, key="a", state="paused")
    families = _families(Snapshot(version="1", schedules=(paused, rest)))
    found = {
        (sample.labels["schedule"], sample.labels["state"]): sample.value
        for sample in families["metronome_schedule_state"].samples
    }
    assert found == {("a", state): float(state == "paused") for state in STATES}


def test_histograms_are_cumulative_and_end_in_infinity() -> None:
    schedule = ScheduleNumbers(
        key="a",
        task="t",
        lane="l",
        state="active",
        enabled=True,
        sums={
            "start_delay": {"0.1": 2, "5.0": 1, "+Inf": 1},
            "start_delay_ms": {"": 4_500},
        },
    )
    families = _families(Snapshot(version="1", schedules=(schedule,)))
    name = "metronome_start_delay_seconds"
    assert _value(families, f"{name}_bucket", le="0.1") == 2
    assert _value(families, f"{name}_bucket", le="2.5") == 2
    assert _value(families, f"{name}_bucket", le="5.0") == 3
    assert _value(families, f"{name}_bucket", le="3600.0") == 3
    assert _value(families, f"{name}_bucket", le="+Inf") == 4
    assert _value(families, f"{name}_count", schedule="a") == 4
    assert _value(families, f"{name}_sum", schedule="a") == 4.5


@pytest.mark.parametrize("bounds", [START_DELAY_BUCKETS, RUN_DURATION_BUCKETS])
def test_a_value_on_a_bound_belongs_to_it(bounds: tuple[float, ...]) -> None:
    assert list(bounds) == sorted(set(bounds))
    for bound in bounds:
        assert float(bucket_label(bound, bounds)) == bound
        assert bucket_label(bound * 1.001, bounds) != bucket_label(bound, bounds)
    assert bucket_label(bounds[-1] + 1, bounds) == "+Inf"


def test_one_read_serves_scrapes_of_one_second() -> None:
    reads = 0

    def read() -> Snapshot:
        nonlocal reads
        reads += 1
        return Snapshot(version=str(reads))

    collector = MetronomeCollector(read, cache_seconds=0.001)
    first = list(collector.collect())
    assert list(collector.collect()) == first
    assert reads == 1


def test_without_the_database_there_are_no_stale_numbers() -> None:
    def read() -> Snapshot:
        raise ConnectionError("gone")

    registry = CollectorRegistry(auto_describe=False)
    registry.register(MetronomeCollector(read))
    text = generate_latest(registry).decode()
    assert "metronome_database_up 0.0" in text
    assert "metronome_runs_total" not in text


def test_a_password_is_made_once(tmp_path: pytest.TempPathFactory) -> None:
    file = tmp_path / "new" / "password"  # type: ignore[operator]
    made = kept_password(file)
    assert kept_password(file) == made
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["password"]
    file.write_text("mine\n")
    assert kept_password(file) == "mine"
    file.write_text("")
    assert len(kept_password(file)) >= 20
