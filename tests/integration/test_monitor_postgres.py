"""The monitor's statements and its election on a real PostgreSQL."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from flask_metronome.core.cadence import every
from flask_metronome.core.run import run_id
from flask_metronome.database import Database
from flask_metronome.models import attempts, metadata, runs, schedules, workers
from flask_metronome.monitor import Monitor
from flask_metronome.settings import Settings, read_settings
from flask_metronome.store import counters
from flask_metronome.store.numbers import isolate, read_snapshot
from flask_metronome.store.ticks import tick
from flask_metronome.testing import SettableClock


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url, clock=SettableClock())
    metadata.create_all(database.engine)
    yield database
    database.dispose()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return read_settings({}, instance_path=str(tmp_path), environ={})


def _clock(database: Database) -> SettableClock:
    clock = database.clock
    assert isinstance(clock, SettableClock)
    return clock


def _schedule(database: Database, key: str, **values: Any) -> str:
    found = str(uuid.uuid4())
    moment = _clock(database).moment
    defaults = {
        "id": found,
        "key": key,
        "task": "shop.tick",
        "cadence": every(60).to_dict(),
        "lane": "default",
        "args": [],
        "kwargs": {},
        "options": {},
        "created_at": moment,
        "updated_at": moment,
    }
    with database.begin() as connection:
        connection.execute(insert(schedules).values({**defaults, **values}))
    return found


def _run(
    database: Database, schedule_id: str, state: str, due_at: datetime, **values: Any
) -> str:
    found = run_id(schedule_id, "auto", due_at)
    defaults = {
        "id": found,
        "schedule_id": schedule_id,
        "schedule_key": "tick",
        "origin": "auto",
        "due_at": due_at,
        "fires_at": due_at,
        "state": state,
        "task": "shop.tick",
        "lane": "default",
        "args": [],
        "kwargs": {},
        "options": {},
        "revision": 1,
        "grace_until": due_at + timedelta(seconds=30),
        "late_after_seconds": 15.0,
        "concurrency_key": schedule_id,
        "updated_at": due_at,
    }
    with database.begin() as connection:
        connection.execute(insert(runs).values({**defaults, **values}))
    return found


def _row(database: Database, found: str) -> Any:
    with database.read() as connection:
        return connection.execute(select(runs).where(runs.c.id == found)).one()


def _watch(monitor: Monitor, clock: SettableClock, seconds: float) -> None:
    while seconds > 0:
        step = min(seconds, 15.0)
        clock.tick(step)
        seconds -= step
        report = monitor.sweep()
        assert report.elected
        assert report.failed == ()


def test_every_chore_runs_and_judges(database: Database, settings: Settings) -> None:
    clock = _clock(database)
    monitor = Monitor(database, settings)
    assert monitor.sweep().elected
    _watch(monitor, clock, 60)
    due = clock.moment + timedelta(seconds=60)
    schedule = _schedule(
        database, "tick", next_due_at=due, miss_after_at=due + timedelta(seconds=30)
    )
    now = clock.moment
    planned = _run(database, schedule, "planned", now, publish_error="refused")
    expires = _run(
        database,
        schedule,
        "published",
        now + timedelta(microseconds=1),
        deadline_at=now + timedelta(seconds=10),
    )
    long = _run(
        database,
        schedule,
        "started",
        now + timedelta(microseconds=2),
        started_at=now,
        max_runtime_seconds=20.0,
        fence=1,
        attempts=1,
    )
    with database.begin() as connection:
        worker = str(uuid.uuid4())
        connection.execute(
            insert(workers).values(
                id=worker,
                hostname="celery@one",
                pid=1,
                version="0",
                lanes=["default"],
                started_at=now,
                heartbeat_at=now,
                active=[long],
            )
        )
        connection.execute(
            insert(attempts).values(
                run_id=long,
                task_id=long,
                task="shop.tick",
                retries=0,
                delivery=1,
                fence=1,
                state="running",
                worker="celery@one",
                worker_id=worker,
                started_at=now,
            )
        )
    _watch(monitor, clock, 60)
    assert _row(database, planned).reason == "publish_failed"
    assert _row(database, planned).late
    assert _row(database, expires).state == "expired"
    assert (_row(database, long).overrun, _row(database, long).stuck) == (True, True)
    _watch(monitor, clock, 40)
    assert _row(database, long).state == "lost"
    with database.read() as connection:
        found = connection.execute(select(runs).where(runs.c.provisional)).one()
    assert (found.missed_count, found.reason) == (1, "scheduler_down")

    with database.begin() as connection:
        tick(connection, now=clock.moment, batch=10, owner="b", lease_seconds=30)
    with database.read() as connection:
        assert connection.execute(select(runs).where(runs.c.provisional)).all() == []
    with database.read() as connection:
        snapshot = read_snapshot(
            isolate(connection),
            now=clock.moment,
            version="1",
            lease_seconds=30,
        )
    (numbers,) = snapshot.schedules
    assert numbers.sums["runs"] == {"auto:expired": 1, "auto:lost": 1}
    assert numbers.sums["runs_missed"]["publish_failed"] == 1
    assert numbers.sums["runs_flagged"]["stuck"] == 1
    (task,) = snapshot.tasks
    assert snapshot.tasks[task]["attempts_lost"] == {"worker_dead": 1}


def test_the_limits_are_exact(database: Database, settings: Settings) -> None:
    clock = _clock(database)
    monitor = Monitor(database, settings)
    assert monitor.sweep().elected
    _watch(monitor, clock, 60)
    schedule = _schedule(database, "tick")
    run = _run(database, schedule, "published", clock.moment, published_at=clock.moment)
    clock.tick(15)
    monitor.sweep()
    assert not _row(database, run).late
    clock.tick(0.000_001)
    monitor.sweep()
    assert _row(database, run).late


def test_many_monitors_and_one_sweeps(database: Database, settings: Settings) -> None:
    monitors = [Monitor(database, settings) for _ in range(4)]
    start = threading.Barrier(len(monitors))

    def sweep(monitor: Monitor) -> bool:
        start.wait()
        return monitor.sweep().elected

    for _ in range(5):
        with ThreadPoolExecutor(len(monitors)) as pool:
            elected = list(pool.map(sweep, monitors))
        assert sum(elected) == 1
        _clock(database).tick(16)


def test_sums_never_fall_while_they_are_folded(
    database: Database, settings: Settings
) -> None:
    """Readers see one snapshot: no fold comes between two statements."""
    schedule = _schedule(database, "tick")
    first = _clock(database).moment
    total = 300
    rows = [
        _run(database, schedule, "succeeded", first + timedelta(seconds=n))
        for n in range(total)
    ]
    monitor = Monitor(database, settings, batch=7)
    done = threading.Event()
    seen: list[int] = []
    key = counters.CounterKey("runs", "tick", "auto:succeeded")

    def read() -> None:
        while not done.is_set():
            with database.read() as connection:
                seen.append(counters.read_sums(isolate(connection))[0][key])
            time.sleep(0.001)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for _ in range(10):
            monitor.sweep()
    finally:
        done.set()
        reader.join()
    assert len(seen) > 3
    assert set(seen) == {total}
    with database.begin() as connection:
        left = connection.execute(
            update(runs).where(runs.c.counted.is_(False)).values(counted=True)
        )
        assert left.rowcount == 0
    assert len(rows) == total
