"""Any number of monitors, one of which sweeps; and its life through outages."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from flask_metronome.monitor import LEASE_TTL_SECONDS
from flask_metronome.store import leases


def test_one_of_two_monitors_sweeps(world: Any) -> None:
    first, second = world.monitor(), world.monitor()
    assert first.sweep().elected
    assert not second.sweep().elected
    world.clock.tick(LEASE_TTL_SECONDS - 1)
    assert first.sweep().elected
    world.clock.tick(2)
    assert not second.sweep().elected


def test_another_takes_over_when_the_lease_is_over(world: Any) -> None:
    first, second = world.monitor(), world.monitor()
    first.sweep()
    world.clock.tick(LEASE_TTL_SECONDS - 0.1)
    assert not second.sweep().elected
    world.clock.tick(0.1)
    assert second.sweep().elected
    assert not first.sweep().elected


def test_a_monitor_that_resigns_is_followed_at_once(world: Any) -> None:
    first, second = world.monitor(), world.monitor()
    first.sweep()
    first.resign()
    assert second.sweep().elected


def test_a_monitor_that_slept_past_its_lease_changes_nothing(world: Any) -> None:
    schedule = world.schedule()
    first, second = world.settled(), world.monitor()
    run = world.run(schedule, "planned")
    world.clock.tick(28)
    assert second.sweep().elected
    world.clock.tick(LEASE_TTL_SECONDS - 1)
    lease = first._lease
    with world.database.begin() as connection, pytest.raises(leases.LeaseLost):
        leases.hold(connection, lease, ttl_seconds=6, now=world.now)
    assert not first.sweep().elected
    assert not world.row(run).missed
    assert second.sweep().elected
    assert world.row(run).missed


def test_epochs_grow_when_the_lease_changes_hands(world: Any) -> None:
    def acquire(holder: str) -> leases.Lease | None:
        with world.database.begin() as connection:
            return leases.acquire(
                connection, "chore", holder=holder, ttl_seconds=10, now=world.now
            )

    one = acquire("a")
    assert one is not None
    assert (one.epoch, one.previously_touched_at) == (1, None)
    assert acquire("b") is None
    again = acquire("a")
    assert again is not None
    assert again.epoch == 1
    world.clock.tick(10)
    two = acquire("b")
    assert two is not None
    assert two.epoch == 2
    assert two.previously_touched_at == world.ago(10)
    with world.database.begin() as connection:
        assert not leases.release(connection, one, now=world.now)
        assert leases.release(connection, two, now=world.now)


def test_one_failing_chore_does_not_stop_the_others(world: Any) -> None:
    schedule = world.schedule()
    monitor = world.settled()
    world.run(schedule, "succeeded", finished_at=world.now)
    with world.database.begin() as connection:
        connection.execute(text("ALTER TABLE metronome_workers RENAME TO elsewhere"))
    report = monitor.sweep()
    assert report.elected
    assert "lost" in report.failed
    assert report["runs_folded"] == 1


class _Stop(threading.Event):
    """An event that is set after so many waits, and never really waits."""

    def __init__(self, turns: int) -> None:
        super().__init__()
        self.turns = turns
        self.waited: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.waited.append(timeout or 0.0)
        if len(self.waited) >= self.turns:
            self.set()
        return self.is_set()


def test_run_outlives_an_outage_and_backs_off(world: Any) -> None:
    file = world.settings.data_dir / "metronome.sqlite"
    monitor = world.monitor()
    away = file.with_suffix(".away")
    world.database.dispose()
    for name in (file, *file.parent.glob("*.sqlite-*")):
        name.unlink() if name != file else name.rename(away)
    file.mkdir()
    stop = _Stop(turns=8)
    monitor.run(stop)
    assert len(stop.waited) == 8
    assert max(stop.waited) <= 5
    assert stop.waited[-1] > stop.waited[0]
    world.clock.tick(600)

    file.rmdir()
    away.rename(file)
    stop = _Stop(turns=2)
    monitor.run(stop)
    assert stop.waited == [world.settings.monitor_seconds] * 2
    # it gave the lease back at the end
    assert world.monitor().sweep().elected


def test_old_history_is_pruned_and_young_is_not(world: Any) -> None:
    schedule = world.schedule()
    old = world.run(schedule, "succeeded", due_at=world.ago(91 * 86_400), counted=True)
    young = world.run(
        schedule, "succeeded", due_at=world.ago(89 * 86_400), counted=True
    )
    waiting = world.run(schedule, "planned", due_at=world.ago(92 * 86_400))
    attempt = world.attempt(old, state="succeeded", counted=True)
    report = world.sweep(world.monitor())
    assert report["runs_pruned"] == 1
    assert world.row(old) is None
    assert world.attempt_row(attempt) is None
    assert world.row(young) is not None
    assert world.row(waiting) is not None


def test_what_is_not_folded_is_not_pruned(world: Any) -> None:
    schedule = world.schedule()
    run = world.run(schedule, "succeeded", due_at=world.ago(91 * 86_400))
    assert world.sweep(world.monitor())["runs_pruned"] == 1
    # folded first, in the same sweep, then pruned
    assert world.row(run) is None
    assert world.folded("runs", label="auto:succeeded") == 1


def test_workers_long_gone_are_removed(world: Any) -> None:
    world.worker(heartbeat_at=world.now - timedelta(days=2))
    kept = world.worker()
    world.sweep(world.monitor())
    with world.database.read() as connection:
        found = connection.execute(text("SELECT id FROM metronome_workers")).all()
    assert [row.id for row in found] == [kept]
