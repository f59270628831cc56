"""A database in a file, a clock that is set, and short ways to write rows."""

from __future__ import annotations

import shutil
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, insert, select, update

from flask_metronome.core.cadence import every
from flask_metronome.core.run import run_id
from flask_metronome.database import Database
from flask_metronome.models import (
    attempts,
    beats,
    counters,
    metadata,
    runs,
    schedules,
    workers,
)
from flask_metronome.monitor import Monitor, SweepReport
from flask_metronome.settings import Settings, read_settings
from flask_metronome.testing import SettableClock

START = datetime(2026, 1, 1, 12, tzinfo=UTC)


@dataclass(kw_only=True)
class World:
    """One database, and what a test says and asks about it."""

    database: Database
    clock: SettableClock
    settings: Settings

    @property
    def now(self) -> datetime:
        return self.clock.moment

    def ago(self, seconds: float) -> datetime:
        return self.now - timedelta(seconds=seconds)

    def monitor(self, **options: Any) -> Monitor:
        return Monitor(self.database, self.settings, **options)

    def settled(self, **options: Any) -> Monitor:
        """A monitor that has been watching for long enough to judge anything."""
        monitor = self.monitor(**options)
        monitor.sweep()
        for _ in range(2):
            self.clock.tick(30)
            monitor.sweep()
        return monitor

    def wait(self, monitor: Monitor, seconds: float) -> Counter[str]:
        """Let time go by while the monitor sweeps now and then; its sums."""
        found: Counter[str] = Counter()
        while seconds > 0:
            step = min(seconds, 15.0)
            self.clock.tick(step)
            seconds -= step
            found.update(self.sweep(monitor).changed)
        return found

    def sweep(self, monitor: Monitor) -> SweepReport:
        report = monitor.sweep()
        assert report.failed == ()
        return report

    # -- rows ---------------------------------------------------------------

    def schedule(self, key: str = "tick", **values: Any) -> str:
        found = str(uuid.uuid4())
        defaults = {
            "id": found,
            "key": key,
            "task": "shop.tick",
            "cadence": every(60).to_dict(),
            "lane": "default",
            "args": [],
            "kwargs": {},
            "options": {},
            "created_at": self.now,
            "updated_at": self.now,
        }
        with self.database.begin() as connection:
            connection.execute(insert(schedules).values({**defaults, **values}))
        return found

    def change_schedule(self, schedule_id: str, **values: Any) -> None:
        with self.database.begin() as connection:
            connection.execute(
                update(schedules).where(schedules.c.id == schedule_id).values(values)
            )

    def run(self, schedule_id: str, state: str, **values: Any) -> str:
        due_at = values.pop("due_at", self.now)
        with self.database.begin() as connection:
            key = connection.scalar(
                select(schedules.c.key).where(schedules.c.id == schedule_id)
            )
            origin = values.get("origin", "auto")
            found = run_id(schedule_id, origin, due_at)
            defaults = {
                "id": found,
                "schedule_id": schedule_id,
                "schedule_key": key,
                "origin": origin,
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
                "planned_at": due_at,
                "updated_at": due_at,
            }
            connection.execute(insert(runs).values({**defaults, **values}))
        return found

    def change_run(self, found: str, **values: Any) -> None:
        with self.database.begin() as connection:
            connection.execute(update(runs).where(runs.c.id == found).values(values))

    def attempt(self, found: str, **values: Any) -> int:
        defaults = {
            "run_id": found,
            "task_id": found,
            "task": "shop.tick",
            "retries": 0,
            "delivery": 1,
            "fence": 1,
            "state": "running",
            "worker": "celery@one",
            "started_at": self.now,
        }
        with self.database.begin() as connection:
            result = connection.execute(insert(attempts).values({**defaults, **values}))
            return int(result.inserted_primary_key[0])

    def worker(self, **values: Any) -> str:
        found = str(uuid.uuid4())
        defaults = {
            "id": found,
            "hostname": "celery@one",
            "pid": 1,
            "version": "0",
            "lanes": ["default"],
            "started_at": self.now,
            "heartbeat_at": self.now,
            "active": [],
        }
        with self.database.begin() as connection:
            connection.execute(insert(workers).values({**defaults, **values}))
        return found

    def heartbeat(self, worker_id: str, active: list[str] | None = None) -> None:
        with self.database.begin() as connection:
            connection.execute(
                update(workers)
                .where(workers.c.id == worker_id)
                .values(heartbeat_at=self.now, active=active or [])
            )

    def beat(self, **values: Any) -> None:
        defaults = {
            "id": str(uuid.uuid4()),
            "host": "here",
            "pid": 1,
            "version": "0",
            "started_at": self.now,
            "heartbeat_at": self.now,
        }
        with self.database.begin() as connection:
            connection.execute(insert(beats).values({**defaults, **values}))

    # -- questions -----------------------------------------------------------

    def row(self, found: str) -> Any:
        with self.database.read() as connection:
            return connection.execute(
                select(runs).where(runs.c.id == found)
            ).one_or_none()

    def rows(self) -> list[Any]:
        with self.database.read() as connection:
            return list(connection.execute(select(runs).order_by(runs.c.due_at)))

    def attempt_row(self, found: int) -> Any:
        with self.database.read() as connection:
            return connection.execute(
                select(attempts).where(attempts.c.id == found)
            ).one_or_none()

    def folded(self, name: str, schedule: str = "tick", label: str = "") -> int:
        with self.database.read() as connection:
            value = connection.scalar(
                select(counters.c.value).where(
                    counters.c.name == name,
                    counters.c.schedule_key == schedule,
                    counters.c.label == label,
                )
            )
        return value or 0


def make_world(folder: Path, template: Path) -> World:
    """A world of its own in a folder."""
    settings = read_settings({}, instance_path=str(folder), environ={})
    clock = SettableClock(START)
    file = folder / "metronome" / "metronome.sqlite"
    file.parent.mkdir(parents=True)
    shutil.copy(template, file)
    database = Database(settings.database_url, clock=clock)
    return World(database=database, clock=clock, settings=settings)


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database of ours, to be copied: tables take a while to make."""
    file = tmp_path_factory.mktemp("template") / "empty.sqlite"
    engine = create_engine(f"sqlite:///{file}")
    metadata.create_all(engine)
    engine.dispose()
    return file


@pytest.fixture
def new_world(template: Path) -> Callable[[Path], World]:
    """Makes a world in a folder."""
    return lambda folder: make_world(folder, template)


@pytest.fixture
def world(tmp_path: Path, template: Path) -> Iterator[World]:
    world = make_world(tmp_path, template)
    yield world
    world.database.dispose()
