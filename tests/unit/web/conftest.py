"""An app on a SQLite file with a settable clock, and short ways to write rows."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import create_engine, insert

from flask_metronome.extension import Metronome
from flask_metronome.models import (
    attempts,
    beats,
    leases,
    metadata,
    runs,
    schedules,
    workers,
)
from flask_metronome.state import State, state_of
from flask_metronome.testing import SettableClock

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
MINUTES = {"kind": "every", "every": 5, "unit": "minutes"}


def report() -> None:
    """The one task."""


@dataclass(kw_only=True)
class Site:
    """One app, its database and its clock."""

    app: Flask
    clock: SettableClock
    ids: dict[str, str] = field(default_factory=dict)

    @property
    def state(self) -> State:
        return state_of(self.app)

    @property
    def client(self) -> FlaskClient:
        return self.app.test_client()

    def get(self, path: str, **options: Any) -> Any:
        """GET under the API's prefix."""
        return self.client.get(f"/metronome/api/v1{path}", **options)

    def post(self, path: str, body: Any = None, **options: Any) -> Any:
        """POST JSON under the API's prefix."""
        if body is not None:
            options["json"] = body
        return self.client.post(f"/metronome/api/v1{path}", **options)

    def page(self, path: str = "/", **options: Any) -> Any:
        """GET a page."""
        return self.client.get(f"/metronome{path}", **options)

    def write(self, table: Any, **values: Any) -> None:
        with self.state.database.begin() as connection:
            connection.execute(insert(table).values(**values))

    def schedule(self, key: str, **values: Any) -> str:
        """Write a schedule; its id."""
        self.ids[key] = str(uuid.uuid4())
        defaults: dict[str, Any] = {
            "id": self.ids[key],
            "key": key,
            "task": "shop.report",
            "args": [],
            "kwargs": {},
            "options": {},
            "cadence": MINUTES,
            "lane": "default",
            "next_due_at": NOW + timedelta(minutes=5),
            "created_at": NOW,
            "updated_at": NOW,
        }
        self.write(schedules, **(defaults | values))
        return self.ids[key]

    def run(self, key: str, ago: float = 60, **values: Any) -> str:
        """Write a run of a schedule that was due ``ago`` seconds ago; its id."""
        due_at = NOW - timedelta(seconds=ago)
        defaults: dict[str, Any] = {
            "id": str(uuid.uuid4()),
            "schedule_id": self.ids[key],
            "schedule_key": key,
            "origin": "auto",
            "due_at": due_at,
            "fires_at": due_at,
            "state": "succeeded",
            "task": "shop.report",
            "lane": "default",
            "args": [],
            "kwargs": {},
            "options": {},
            "revision": 1,
            "grace_until": due_at + timedelta(seconds=60),
            "late_after_seconds": 30.0,
            "concurrency_key": self.ids[key],
            "updated_at": due_at,
        }
        row = defaults | values
        self.write(runs, **row)
        return str(row["id"])

    def attempt(self, run_id: str, retries: int = 0, **values: Any) -> None:
        """Write an attempt of a run."""
        defaults: dict[str, Any] = {
            "run_id": run_id,
            "task_id": run_id,
            "task": "shop.report",
            "retries": retries,
            "delivery": 1,
            "state": "succeeded",
            "worker": "celery@shop",
            "started_at": NOW - timedelta(seconds=50 - retries),
        }
        self.write(attempts, **(defaults | values))

    def beat(self, **values: Any) -> None:
        """Write a beat that lives."""
        defaults: dict[str, Any] = {
            "id": str(uuid.uuid4()),
            "host": "shop-1",
            "pid": 7,
            "version": "1",
            "started_at": NOW,
            "heartbeat_at": NOW,
        }
        self.write(beats, **(defaults | values))

    def watched(self, seconds: float = 6) -> None:
        """Let a monitor hold the lease to sweep for so long from now on."""
        until = NOW + timedelta(seconds=seconds)
        lease = {"name": "monitor", "holder": "m", "epoch": 1, "touched_at": NOW}
        self.write(leases, **lease, expires_at=until)

    def worker(self, **values: Any) -> None:
        """Write a worker that lives."""
        defaults: dict[str, Any] = {
            "id": str(uuid.uuid4()),
            "hostname": "celery@shop",
            "pid": 8,
            "version": "1",
            "lanes": ["default"],
            "started_at": NOW,
            "heartbeat_at": NOW,
            "active": [],
        }
        self.write(workers, **(defaults | values))


@pytest.fixture(scope="session")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with our tables and no row, to be copied."""
    path = tmp_path_factory.mktemp("web") / "empty.sqlite"
    engine = create_engine(f"sqlite:///{path}")
    metadata.create_all(engine)
    engine.dispose()
    return path


@pytest.fixture
def make_site(tmp_path: Path, seeded: Path) -> Iterator[Callable[..., Site]]:
    """Builds apps; ``METRONOME_*`` values by keyword, without the prefix."""
    made: list[Site] = []

    def make(before: Callable[[Flask], None] | None = None, **settings: Any) -> Site:
        path = tmp_path / f"site-{len(made)}.sqlite"
        path.write_bytes(seeded.read_bytes())
        app = Flask(f"site{len(made)}", instance_path=str(tmp_path))
        app.testing = True
        app.config["METRONOME_DATABASE_URL"] = f"sqlite:///{path}"
        app.config["METRONOME_DATA_DIR"] = str(tmp_path)
        app.config.update({f"METRONOME_{k.upper()}": v for k, v in settings.items()})
        if before is not None:
            before(app)
        metronome = Metronome(app)
        metronome.task(name="shop.report")(report)
        site = Site(app=app, clock=SettableClock(NOW))
        site.state.database.clock = site.clock
        made.append(site)
        return site

    yield make
    for site in made:
        site.state.loop.stop()
        site.state.database.dispose()


@pytest.fixture
def site(make_site: Callable[..., Site]) -> Site:
    """One app with the usual settings."""
    return make_site()
