"""Numbers of processes, lanes, outboxes and histograms, from rows to Prometheus."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from prometheus_client.metrics_core import Metric
from sqlalchemy import insert, text

from flask_metronome.models import messages
from flask_metronome.monitor import LEASE_TTL_SECONDS
from flask_metronome.store import counters, depths
from flask_metronome.store.numbers import isolate, read_snapshot
from flask_metronome.store.tick_times import TickTimes
from metronome_broker import LaneDepth
from metronome_monitoring.buckets import DISPATCH_BUCKETS, RUN_DURATION_BUCKETS
from metronome_monitoring.families import families
from metronome_monitoring.process_families import CHORES

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples(world: Any, **options: Any) -> Samples:
    """Every sample of a scrape, by its name and labels."""
    with world.database.read() as connection:
        snapshot = read_snapshot(
            isolate(connection), now=world.now, version="1", lease_seconds=30, **options
        )
    found: list[Metric] = list(families(snapshot))
    return {
        (sample.name, frozenset(sample.labels.items())): float(sample.value)
        for family in found
        for sample in family.samples
    }


def value(found: Samples, name: str, **labels: str) -> float:
    return found[f"metronome_{name}", frozenset(labels.items())]


def bounds_of(found: Samples, name: str) -> set[str]:
    return {
        dict(labels)["le"] for of, labels in found if of == f"metronome_{name}_bucket"
    }


def test_dispatch_and_attempts_have_histograms_that_outlive_their_rows(
    world: Any,
) -> None:
    schedule = world.schedule(task="shop.tick")
    monitor = world.settled()
    run = world.run(
        schedule,
        "succeeded",
        published_at=world.now + timedelta(seconds=0.2),
        started_at=world.now + timedelta(seconds=1),
        finished_at=world.now + timedelta(seconds=8),
    )
    for number, (state, seconds) in enumerate((("retried", 3.0), ("succeeded", 4.0))):
        world.attempt(
            run,
            delivery=number,
            state=state,
            runtime_seconds=seconds,
            redelivered=number == 1,
        )
    before = samples(world)
    delay = {"schedule": "tick"}
    assert value(before, "dispatch_delay_seconds_sum", **delay) == 0.2
    assert value(before, "dispatch_delay_seconds_bucket", **delay, le="0.1") == 0
    assert value(before, "dispatch_delay_seconds_bucket", **delay, le="0.25") == 1
    for outcome, bound, seconds in (("other", "5.0", 3.0), ("succeeded", "5.0", 4.0)):
        labels = {"task": "shop.tick", "outcome": outcome}
        name = "attempt_runtime_seconds"
        assert value(before, f"{name}_sum", **labels) == seconds
        assert value(before, f"{name}_bucket", **labels, le="2.5") == 0
        assert value(before, f"{name}_bucket", **labels, le=bound) == 1
    assert value(before, "redeliveries_total", lane="default") == 1
    world.wait(monitor, 1)
    world.clock.tick(91 * 86_400)
    world.wait(monitor, 1)
    assert world.row(run) is None
    after = samples(world)
    assert {
        key: number
        for key, number in before.items()
        if "delay" in key[0] or "runtime" in key[0] or "redeliveries" in key[0]
    }.items() <= after.items()


def test_the_buckets_are_those_of_batch_work(world: Any) -> None:
    world.schedule()
    found = samples(world)
    dispatch = {*(repr(bound) for bound in DISPATCH_BUCKETS), "+Inf"}
    assert bounds_of(found, "dispatch_delay_seconds") == dispatch
    assert bounds_of(found, "tick_duration_seconds") == dispatch
    assert dispatch >= {"0.05", "0.25", "300.0"}
    runtime = {*(repr(bound) for bound in RUN_DURATION_BUCKETS), "+Inf"}
    assert bounds_of(found, "run_duration_seconds") == runtime
    assert bounds_of(found, "attempt_runtime_seconds") == runtime


def test_ticks_of_every_beat_are_one_sum_that_outlives_them(world: Any) -> None:
    monitor = world.settled()
    for _ in range(2):
        beat = str(uuid.uuid4())
        world.beat(id=beat)
        times = TickTimes(beat)
        for _ in range(3):
            with times.measured():
                pass
        with world.database.begin() as connection:
            times.write(connection)
        times.clear()
        with world.database.begin() as connection:
            times.write(connection)
            failures = counters.CounterKey(counters.PUBLISH_FAILURES, beat, "nacked")
            counters.add(connection, {failures: 2})
    found = samples(world)
    assert value(found, "tick_duration_seconds_count") == 6
    assert value(found, "publish_failures_total", reason="nacked") == 4
    world.clock.tick(2 * 86_400)
    world.sweep(monitor)
    with world.database.read() as connection:
        owners = set(
            connection.scalars(
                text("SELECT schedule_key FROM metronome_counters WHERE name = 'tick'")
            )
        )
    assert owners == {""}
    found = samples(world)
    assert value(found, "tick_duration_seconds_count") == 6
    assert value(found, "publish_failures_total", reason="nacked") == 4


def test_what_workers_dropped_outlives_them(world: Any) -> None:
    monitor = world.settled()
    world.worker(dropped=3)
    world.worker(hostname="celery@two", dropped=4)
    assert value(samples(world), "records_dropped_total") == 7
    world.clock.tick(2 * 86_400)
    world.worker(hostname="celery@three", dropped=1)
    world.sweep(monitor)
    assert value(samples(world), "records_dropped_total") == 8


def test_workers_say_what_waits_in_their_spools(world: Any) -> None:
    world.worker(spooled=3)
    world.worker(hostname="celery@two")
    found = samples(world)
    assert value(found, "spool_records", worker="celery@one") == 3
    assert value(found, "spool_records", worker="celery@two") == 0


def test_lanes_say_what_waits_and_who_serves(world: Any) -> None:
    schedule = world.schedule()
    for number in range(3):
        world.run(
            schedule,
            "published",
            due_at=world.ago(number),
            published_at=world.ago(40 + number),
        )
    world.worker(lanes=["default", "mail"])
    world.worker(hostname="celery@two", lanes=["default"], stopped_at=world.now)
    with world.database.begin() as connection:
        seen = {
            "default": LaneDepth(messages=3, consumers=2),
            "dead": LaneDepth(messages=1, consumers=0),
        }
        depths.write(connection, seen, now=world.now)
        depths.write(connection, seen, now=world.now)
    found = samples(world)
    assert value(found, "lane_waiting", lane="default") == 3
    assert value(found, "lane_head_age_seconds", lane="default") == 42
    assert value(found, "lane_workers", lane="default") == 1
    assert value(found, "lane_messages", lane="default") == 3
    assert value(found, "lane_consumers", lane="default") == 2
    assert value(found, "lane_messages", lane="dead") == 1
    assert value(found, "lane_waiting", lane="mail") == 0
    # what was seen long ago is not shown as if it were so now
    world.clock.tick(61)
    found = samples(world)
    assert not any(name == "metronome_lane_messages" for name, _ in found)
    assert value(found, "lane_waiting", lane="default") == 3


def test_workers_are_there_one_by_one_for_an_hour(world: Any) -> None:
    world.worker(hostname="celery@one", heartbeat_at=world.ago(120))
    world.worker(hostname="celery@one", active=["a"])
    world.worker(hostname="celery@old", heartbeat_at=world.ago(91))
    found = samples(world)
    assert value(found, "worker_up", worker="celery@one") == 1
    assert value(found, "worker_executing", worker="celery@one") == 1
    assert value(found, "worker_up", worker="celery@old") == 0
    world.clock.tick(3601)
    assert not any(name == "metronome_worker_up" for name, _ in samples(world))


def test_outboxes_say_how_much_waits_and_how_long(world: Any) -> None:
    schedule = world.schedule()
    world.run(schedule, "planned", publish_after=world.ago(7))
    world.run(schedule, "planned", due_at=world.ago(1), publish_after=world.ago(-60))
    with world.database.begin() as connection:
        for state in ("pending", "sent"):
            row = {
                "id": str(uuid.uuid4()),
                "kind": "notice",
                "type": "incident.opened",
                "destination": "mail:x",
                "body": {},
                "state": state,
                "next_try_at": world.now,
                "created_at": world.ago(5),
            }
            connection.execute(insert(messages).values(row))
    found = samples(world)
    for outbox, count, age in (("runs", 1, 7), ("notices", 1, 5), ("events", 0, 0)):
        assert value(found, "outbox_messages", outbox=outbox) == count
        assert value(found, "outbox_oldest_seconds", outbox=outbox) == age


def test_the_monitor_says_how_it_does(world: Any) -> None:
    schedule = world.schedule()
    monitor = world.settled()
    world.run(schedule, "failed", finished_at=world.ago(30))
    found = samples(world)
    assert value(found, "monitor_lag_seconds") == 30
    changes = value(found, "monitor_changes_total")
    with world.database.begin() as connection:
        connection.execute(text("ALTER TABLE metronome_attempts RENAME TO elsewhere"))
    assert "lost" in monitor.sweep().failed
    with world.database.begin() as connection:
        connection.execute(text("ALTER TABLE elsewhere RENAME TO metronome_attempts"))
    world.clock.tick(LEASE_TTL_SECONDS)
    world.sweep(world.monitor())
    found = samples(world)
    assert value(found, "monitor_lag_seconds") == 0
    assert value(found, "monitor_changes_total") == changes + 1
    assert value(found, "monitor_chore_failures_total", chore="lost") == 1


def test_every_chore_has_its_series_from_the_start(world: Any) -> None:
    world.settings = replace(world.settings, events=True)
    monitor = world.monitor()
    chores = set(world.sweep(monitor).changed)
    world.clock.tick(20)
    chores |= set(world.sweep(monitor).changed)
    chores |= set(world.wait(monitor, 60))
    assert chores == set(CHORES)


def test_a_schedule_says_how_it_stands(world: Any) -> None:
    schedule = world.schedule(bad_in_a_row=3, max_runtime_seconds=60.0)
    monitor = world.settled()
    world.run(schedule, "failed", finished_at=world.now)
    world.run(schedule, "started", due_at=world.ago(1), started_at=world.ago(9))
    world.sweep(monitor)
    found = samples(world)
    assert value(found, "schedule_bad_in_a_row", schedule="tick") == 1
    assert value(found, "schedule_bad_in_a_row_limit", schedule="tick") == 3
    assert value(found, "schedule_max_runtime_seconds", schedule="tick") == 60
    assert value(found, "run_oldest_in_progress_seconds", schedule="tick") == 9
    assert (
        value(found, "schedule_last_bad_timestamp_seconds", schedule="tick")
        == world.now.timestamp()
    )


@pytest.mark.parametrize("replica", [1, 2])
def test_every_replica_says_the_same(world: Any, replica: int) -> None:
    world.schedule()
    world.settled()
    assert samples(world) == samples(world)


def test_the_number_of_series_is_bounded(world: Any) -> None:
    """More of everything than is shown: schedules, tasks, lanes and workers."""
    for number in range(12):
        schedule = world.schedule(
            f"s{number}",
            task=f"shop.task{number}",
            lane=f"lane{number}",
            created_at=world.now + timedelta(seconds=number),
        )
        run = world.run(schedule, "published", published_at=world.now, lane="x")
        world.attempt(run, state="failed", task=f"task{number}", runtime_seconds=1.0)
    few = len(samples(world, most_schedules=10))
    for number in range(300):
        run = world.run(schedule, "published", due_at=world.ago(number + 1))
        world.attempt(run, state="failed", task=f"more{number}", runtime_seconds=1.0)
        world.change_run(run, lane=f"more{number}")
        world.worker(hostname=f"celery@{number}", lanes=["default"])
    found = samples(world, most_schedules=10)
    for label, most in (
        ("schedule", 11),
        ("task", 202),
        ("lane", 213),
        ("worker", 200),
    ):
        values = {dict(labels)[label] for _, labels in found if label in dict(labels)}
        assert len(values) <= most, label
    tasks, lanes, workers = 201 * 2 * 18, 201 * 5, 200 * 3
    assert len(found) < few + tasks + lanes + workers
