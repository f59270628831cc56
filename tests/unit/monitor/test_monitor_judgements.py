"""Missed, expired, late, overrun, stuck: each on both sides of its limit."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from flask_metronome.core.longest_runtime import usual_longest_seconds


@pytest.fixture
def tick(world: Any) -> str:
    return str(world.schedule())


def test_a_planned_run_is_not_missed_until_its_grace_is_over(
    world: Any, tick: str
) -> None:
    monitor = world.settled()
    run = world.run(tick, "planned", publish_error="refused")

    world.clock.tick(30)
    assert world.sweep(monitor)["unpublished"] == 0
    assert not world.row(run).missed

    world.clock.tick(0.001)
    assert world.sweep(monitor)["unpublished"] == 1
    row = world.row(run)
    assert (row.state, row.missed, row.reason) == ("planned", True, "publish_failed")
    # judged once
    assert world.sweep(monitor)["unpublished"] == 0


@pytest.mark.parametrize(
    ("heard", "stopped", "reason"),
    [
        (15, False, "publish_failed"),
        (15.1, False, "scheduler_down"),
        (1, True, "scheduler_down"),
    ],
)
def test_what_no_beat_tried_is_not_the_brokers_fault(
    world: Any, tick: str, heard: float, stopped: bool, reason: str
) -> None:
    monitor = world.settled()
    run = world.run(tick, "planned")
    world.wait(monitor, 30)
    world.clock.tick(1)
    world.beat(heartbeat_at=world.ago(heard), stopped_at=world.now if stopped else None)
    world.sweep(monitor)
    assert (world.row(run).missed, world.row(run).reason) == (True, reason)


def test_an_unroutable_run_says_so(world: Any, tick: str) -> None:
    monitor = world.settled()
    run = world.run(tick, "planned", publish_error="unroutable: no queue")
    world.wait(monitor, 31)
    assert world.row(run).reason == "unroutable"


def test_a_published_run_is_not_missed_however_long_it_lies(
    world: Any, tick: str
) -> None:
    monitor = world.settled()
    run = world.run(tick, "published", published_at=world.now)
    again = world.run(tick, "planned", published_at=world.now, due_at=world.ago(1))
    world.clock.tick(3600)
    world.sweep(monitor)
    assert not world.row(run).missed
    assert not world.row(again).missed


def test_a_run_promoted_from_waiting_is_given_time(world: Any, tick: str) -> None:
    monitor = world.settled()
    waited = world.run(tick, "planned", due_at=world.ago(600), publish_after=world.now)
    world.clock.tick(29)
    assert world.sweep(monitor)["unpublished"] == 0
    world.clock.tick(2)
    assert world.sweep(monitor)["unpublished"] == 1
    assert world.row(waited).missed


def test_a_deadline_expires_what_has_not_started(world: Any, tick: str) -> None:
    monitor = world.settled()
    deadline = world.now + timedelta(seconds=60)
    states = ("waiting", "planned", "published", "received", "started", "retrying")
    found = {
        state: world.run(
            tick,
            state,
            due_at=world.ago(number),
            grace_until=world.now + timedelta(seconds=3600),
            deadline_at=deadline,
        )
        for number, state in enumerate(states)
    }
    world.clock.tick(60)
    assert world.sweep(monitor)["expired"] == 0
    world.clock.tick(0.001)
    assert world.sweep(monitor)["expired"] == 4
    for state in states[:4]:
        row = world.row(found[state])
        assert (row.state, row.missed, row.reason) == ("expired", True, "expired")
        assert row.finished_at == world.now
    assert world.row(found["started"]).state == "started"
    assert world.row(found["retrying"]).state == "retrying"


def test_an_expired_run_keeps_why_it_was_missed_first(world: Any, tick: str) -> None:
    monitor = world.settled()
    deadline = world.now + timedelta(seconds=60)
    run = world.run(tick, "planned", deadline_at=deadline, publish_error="refused")
    world.wait(monitor, 80)
    row = world.row(run)
    assert (row.state, row.reason) == ("expired", "publish_failed")


@pytest.mark.parametrize("state", ["planned", "published", "received", "waiting"])
def test_late_is_a_start_that_has_not_come(world: Any, tick: str, state: str) -> None:
    monitor = world.settled()
    run = world.run(tick, state, late_after_seconds=20.0)
    world.clock.tick(20)
    assert world.sweep(monitor)["late"] == 0
    world.clock.tick(0.002)
    assert world.sweep(monitor)["late"] == 1
    assert world.row(run).late
    assert world.sweep(monitor)["late"] == 0


def test_late_is_counted_from_the_firing_not_from_due(world: Any, tick: str) -> None:
    monitor = world.settled()
    run = world.run(tick, "published", fires_at=world.now + timedelta(seconds=100))
    world.clock.tick(110)
    world.sweep(monitor)
    assert not world.row(run).late
    world.clock.tick(6)
    world.sweep(monitor)
    assert world.row(run).late


@pytest.mark.parametrize("state", ["started", "succeeded", "skipped", "missed"])
def test_what_started_or_ended_is_not_late(world: Any, tick: str, state: str) -> None:
    monitor = world.settled()
    run = world.run(tick, state, started_at=world.now)
    world.clock.tick(1000)
    world.sweep(monitor)
    assert not world.row(run).late


def test_overrun_is_longer_than_the_longest_runtime(world: Any, tick: str) -> None:
    monitor = world.settled()
    run = world.run(tick, "started", started_at=world.now, max_runtime_seconds=60.0)
    assert world.wait(monitor, 60)["overrun"] == 0
    world.clock.tick(0.002)
    assert world.sweep(monitor)["overrun"] == 1
    assert world.row(run).overrun


@pytest.mark.parametrize(
    ("runtimes", "limit"),
    [
        ([400.0] * 9, None),
        ([400.0] * 10, 1200.0),
        ([1.0] * 50, 300.0),
        ([*[200.0] * 48, 9000.0, 9000.0], 600.0),
        ([*[200.0] * 47, 9000.0, 9000.0, 9000.0], 27_000.0),
    ],
)
def test_without_a_longest_runtime_the_usual_one_is_taken(
    world: Any, tick: str, runtimes: list[float], limit: float | None
) -> None:
    for number, seconds in enumerate(runtimes):
        world.run(
            tick,
            "succeeded",
            due_at=world.ago(1000 + number),
            runtime_seconds=seconds,
            counted=True,
        )
    assert usual_longest_seconds(runtimes) == limit
    monitor = world.settled()
    run = world.run(tick, "started", started_at=world.now, fence=1)
    assert world.wait(monitor, 300)["limits"] == 0
    world.clock.tick(0.1)
    assert world.sweep(monitor)["limits"] == (limit is not None)
    assert world.row(run).max_runtime_seconds == limit
    assert world.row(run).overrun is (limit == 300)


def test_stuck_needs_a_live_worker_that_lists_it(world: Any, tick: str) -> None:
    monitor = world.settled()
    run = world.run(
        tick, "started", started_at=world.now, max_runtime_seconds=30.0, fence=1
    )
    worker = world.worker(active=[run])
    world.attempt(run, worker_id=worker)
    found = world.wait(monitor, 60)
    assert (found["overrun"], found["stuck"]) == (1, 0)
    world.clock.tick(0.002)
    assert world.sweep(monitor)["stuck"] == 1
    assert world.row(run).stuck


def test_overrun_alone_is_not_stuck(world: Any, tick: str) -> None:
    monitor = world.settled()
    run = world.run(
        tick, "started", started_at=world.now, max_runtime_seconds=30.0, fence=1
    )
    worker = world.worker(active=[])
    world.attempt(run, worker_id=worker)
    world.wait(monitor, 61)
    world.heartbeat(worker)
    world.sweep(monitor)
    row = world.row(run)
    assert row.overrun
    assert not row.stuck


def test_a_batch_bounds_a_transaction_and_not_a_sweep(world: Any, tick: str) -> None:
    monitor = world.settled(batch=3)
    for number in range(10):
        world.run(tick, "planned", due_at=world.ago(number))
    world.clock.tick(20)
    world.sweep(monitor)
    world.clock.tick(20)
    assert world.sweep(monitor)["unpublished"] == 10
