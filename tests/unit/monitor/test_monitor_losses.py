"""Lost attempts and messages that are gone: when they are, and when not yet."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture
def tick(world: Any) -> str:
    return str(world.schedule())


def _started(world: Any, tick: str, worker: str, **values: Any) -> tuple[str, int]:
    run = world.run(
        tick,
        "started",
        started_at=world.now,
        fence=1,
        attempts=1,
        live_key="k",
        **values,
    )
    return run, world.attempt(run, worker_id=worker)


def test_an_attempt_is_lost_when_its_lease_is_ninety_seconds_old(
    world: Any, tick: str
) -> None:
    monitor = world.settled()
    worker = world.worker()
    run, attempt = _started(world, tick, worker)
    world.heartbeat(worker, [run])

    assert world.wait(monitor, 90)["lost"] == 0
    world.clock.tick(0.001)
    assert world.sweep(monitor)["lost"] == 1

    ended = world.attempt_row(attempt)
    assert (ended.state, ended.lost_cause) == ("lost", "worker_dead")
    row = world.row(run)
    assert (row.state, row.reason, row.live_key) == ("lost", "worker_dead", None)
    assert row.finished_at == world.now
    assert "celery@one" in row.error


def test_a_live_worker_that_lists_it_loses_nothing(world: Any, tick: str) -> None:
    monitor = world.settled()
    worker = world.worker()
    run, _ = _started(world, tick, worker)
    for _ in range(20):
        world.clock.tick(30)
        world.heartbeat(worker, [run])
        assert world.sweep(monitor)["lost"] == 0
    assert world.row(run).state == "started"


def test_vanished_needs_two_heartbeats_after_the_start(world: Any, tick: str) -> None:
    monitor = world.settled()
    worker = world.worker()
    run, attempt = _started(world, tick, worker)
    world.sweep(monitor)

    world.clock.tick(30)
    world.heartbeat(worker)
    assert world.sweep(monitor)["lost"] == 0
    world.clock.tick(10)
    # the same heartbeat again proves nothing new
    assert world.sweep(monitor)["lost"] == 0
    world.clock.tick(20)
    world.heartbeat(worker)
    assert world.sweep(monitor)["lost"] == 1
    assert world.attempt_row(attempt).lost_cause == "vanished"
    assert world.row(run).state == "lost"


def test_listed_again_in_between_is_not_vanished(world: Any, tick: str) -> None:
    monitor = world.settled()
    worker = world.worker()
    run, _ = _started(world, tick, worker)
    for active in ([], [run], [], [run]):
        world.clock.tick(30)
        world.heartbeat(worker, active)
        assert world.sweep(monitor)["lost"] == 0


def test_rerun_puts_the_run_back_into_the_outbox(world: Any, tick: str) -> None:
    monitor = world.settled()
    worker = world.worker()
    run, _ = _started(world, tick, worker, on_lost="rerun")
    world.wait(monitor, 91)
    row = world.row(run)
    assert (row.state, row.live_key, row.publish_owner) == ("planned", None, None)
    assert row.publish_after == world.now
    assert row.finished_at is None


def test_rerun_gives_up_at_the_delivery_limit(world: Any, tick: str) -> None:
    monitor = world.settled()
    worker = world.worker()
    run, _ = _started(world, tick, worker, on_lost="rerun")
    world.change_run(run, attempts=world.settings.delivery_limit)
    world.wait(monitor, 91)
    assert world.row(run).state == "lost"


def test_a_newer_claim_is_left_alone(world: Any, tick: str) -> None:
    monitor = world.settled()
    worker = world.worker()
    run, attempt = _started(world, tick, worker)
    world.change_run(run, fence=2)
    world.wait(monitor, 91)
    assert world.attempt_row(attempt).state == "lost"
    assert world.row(run).state == "started"


def test_a_worker_that_stopped_keeps_nothing_running(world: Any, tick: str) -> None:
    monitor = world.settled()
    worker = world.worker(stopped_at=world.now)
    _, attempt = _started(world, tick, worker)
    world.clock.tick(30)
    assert world.sweep(monitor)["lost"] == 0
    world.clock.tick(1)
    assert world.sweep(monitor)["lost"] == 1
    assert world.attempt_row(attempt).lost_cause == "worker_dead"


def test_after_an_absence_leases_are_renewed_before_they_are_judged(
    world: Any, tick: str
) -> None:
    monitor = world.settled()
    worker = world.worker()
    run, _ = _started(world, tick, worker)
    world.heartbeat(worker, [run])
    # the database was away: neither the worker nor the monitor could write
    world.clock.tick(600)
    assert world.sweep(monitor)["lost"] == 0
    world.clock.tick(20)
    world.heartbeat(worker, [run])
    for _ in range(6):
        world.clock.tick(10)
        assert world.sweep(monitor)["lost"] == 0
    assert world.row(run).state == "started"


def test_after_an_absence_the_dead_are_found_all_the_same(
    world: Any, tick: str
) -> None:
    monitor = world.settled()
    run, _ = _started(world, tick, world.worker())
    world.clock.tick(600)
    assert world.sweep(monitor)["lost"] == 0
    for _ in range(3):
        world.clock.tick(20)
        world.sweep(monitor)
    assert world.row(run).state == "lost"


def test_a_message_that_is_gone_is_published_again(world: Any, tick: str) -> None:
    monitor = world.settled()
    worker = world.worker()
    run = world.run(tick, "published", published_at=world.now)
    found = 0
    for _ in range(5):
        world.clock.tick(30)
        world.heartbeat(worker)
        found += world.sweep(monitor)["returned"]
    assert found == 1
    row = world.row(run)
    assert (row.state, row.missed) == ("planned", False)
    assert world.folded("republished") == 1


@pytest.mark.parametrize(
    ("state", "retry_in", "again"),
    [("retried", 0, 1), ("retried", 3_600, 0), ("ignored", 0, 0)],
)
def test_a_retry_whose_message_is_gone_is_published_again(
    world: Any, tick: str, state: str, retry_in: float, again: int
) -> None:
    """Not one that is due later, nor a run that another task has taken over."""
    monitor = world.settled()
    worker = world.worker()
    due = world.ago(-retry_in)
    values = {"published_at": world.now, "retry_at": due, "fence": 1, "retries": 1}
    run = world.run(tick, "retrying", **values)
    world.attempt(run, state=state, ended_at=world.now)
    found = 0
    for _ in range(5):
        world.clock.tick(30)
        world.heartbeat(worker)
        found += world.sweep(monitor)["returned"]
    assert found == again
    row = world.row(run)
    assert row.state == ("planned" if again else "retrying")
    assert row.retries == 1


@pytest.mark.parametrize("active", [[], ["other"]])
def test_a_backlog_is_not_published_again(
    world: Any, tick: str, active: list[str]
) -> None:
    monitor = world.settled()
    worker = world.worker()
    world.run(tick, "published", published_at=world.now)
    if not active:
        busy, _ = _started(world, tick, worker, due_at=world.ago(60))
        active = []
    for _ in range(10):
        world.clock.tick(30)
        world.heartbeat(worker, active or [busy])
        assert world.sweep(monitor)["returned"] == 0


def test_a_lane_without_a_worker_waits(world: Any, tick: str) -> None:
    monitor = world.settled()
    worker = world.worker(lanes=["other"])
    world.run(tick, "published", published_at=world.now)
    for _ in range(10):
        world.clock.tick(30)
        world.heartbeat(worker)
        assert world.sweep(monitor)["returned"] == 0


def test_patience_doubles_with_each_publish(world: Any, tick: str) -> None:
    monitor = world.settled()
    worker = world.worker()
    run = world.run(tick, "published", published_at=world.now)
    waits = []
    for _ in range(3):
        waited = 0
        while world.row(run).state == "published":
            world.clock.tick(30)
            world.heartbeat(worker)
            world.sweep(monitor)
            waited += 30
        waits.append(waited)
        world.change_run(run, state="published", published_at=world.now)
    assert waits == [120, 180, 300]
