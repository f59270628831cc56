"""What a monitor's sweep costs, by how much history there is and how many schedules.

It should follow what changed since the sweep before, and neither of the two. On
SQLite in a temporary file, or on the database of ``METRONOME_TEST_DATABASE_URL``,
whose Metronome tables it empties.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, delete, insert, text

from benchmarks.table import Table
from flask_metronome import schema
from flask_metronome.core.every import every
from flask_metronome.core.run import run_id
from flask_metronome.database import Database
from flask_metronome.models import attempts, metadata, runs, schedules
from flask_metronome.monitor import Monitor
from flask_metronome.settings import read_settings
from flask_metronome.store.numbers import isolate, read_snapshot
from flask_metronome.testing import SettableClock

#: Schedules stored, runs in the history, runs that end between two sweeps.
SIZES = (
    (100, 10_000, 0),
    (100, 10_000, 50),
    (100, 100_000, 0),
    (100, 100_000, 50),
    (10_000, 10_000, 50),
)
#: Only on a server: SQLite's file takes a while to fill.
SERVER_SIZES = ((100, 1_000_000, 0), (100, 1_000_000, 50), (10_000, 1_000_000, 50))
QUICK_SIZES = ((5, 20, 0), (5, 40, 5))
_ROUNDS = 9
_CHUNK = 5_000


def measure(*, quick: bool) -> Table:
    """Fill, let some runs end, sweep and scrape."""
    with tempfile.TemporaryDirectory() as folder:
        default = f"sqlite:///{Path(folder) / 'bench.sqlite'}"
        url = os.environ.get("METRONOME_TEST_DATABASE_URL", default)
        database = Database(url, clock=SettableClock(), timeout_seconds=600)
        schema.init_db(database)
        sizes = SIZES + (() if database.dialect == "sqlite" else SERVER_SIZES)
        rows = [
            (f"{size[1]:,}", size[0], size[2], *_round(database, folder, *size))
            for size in (QUICK_SIZES if quick else sizes)
        ]
        title = f"sweep on {database.dialect}, median of {_ROUNDS}"
        database.dispose()
    return Table(
        title=title,
        columns=(
            "runs in history",
            "schedules",
            "runs ended",
            "sweep, milliseconds",
            "scrape, milliseconds",
        ),
        rows=rows,
    )


def _round(
    database: Database, folder: str, stored: int, history: int, ended: int
) -> tuple[float, float]:
    clock = database.clock
    assert isinstance(clock, SettableClock)
    with database.begin() as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(delete(table))
    ids = _fill_schedules(database, stored, clock.moment)
    _fill_history(database, ids, history, clock.moment)
    settings = read_settings({}, instance_path=folder, environ={})
    monitor = Monitor(database, settings)
    for _ in range(4):  # what it does once after its start, pruning among it
        clock.tick(20)
        monitor.sweep()
    sweeps, scrapes = [], []
    for _ in range(_ROUNDS):
        clock.tick(2)
        _end(database, ids, ended, clock.moment)
        began = time.perf_counter()
        report = monitor.sweep()
        sweeps.append(time.perf_counter() - began)
        if report.failed or report["judged"] != ended:
            raise AssertionError(f"the sweep did not do its work: {report}")
        began = time.perf_counter()
        with database.read() as connection:
            read_snapshot(
                isolate(connection), now=clock.moment, version="", lease_seconds=30
            )
        scrapes.append(time.perf_counter() - began)
    return statistics.median(sweeps) * 1000, statistics.median(scrapes) * 1000


def _fill_schedules(database: Database, stored: int, now: datetime) -> list[str]:
    ids = [str(uuid.uuid4()) for _ in range(stored)]
    due = now + timedelta(days=1)
    rows = [
        {
            "id": found,
            "key": f"bench-{number}",
            "task": "bench.task",
            "cadence": every(7, "days").to_dict(),
            "lane": "default",
            "next_due_at": due,
            "miss_after_at": due + timedelta(seconds=60),
            "created_at": now,
            "updated_at": now,
        }
        for number, found in enumerate(ids)
    ]
    with database.begin() as connection:
        connection.execute(insert(schedules), rows)
    return ids


def _fill_history(
    database: Database, ids: list[str], history: int, now: datetime
) -> None:
    rows: list[Mapping[str, Any]] = []
    for number in range(history):
        due = now - timedelta(seconds=60 + 5 * number)
        rows.append(_run(ids, number, due) | {"counted": True, "judged": 2})
        if len(rows) == _CHUNK or number == history - 1:
            with database.begin() as connection:
                connection.execute(insert(runs), rows)
                connection.execute(insert(attempts), list(_attempts(rows)))
            rows = []
    if database.dialect == "postgresql":
        with database.engine.connect() as connection:
            outside = connection.execution_options(isolation_level="AUTOCOMMIT")
            outside.execute(text("VACUUM ANALYZE"))


def _end(database: Database, ids: list[str], ended: int, now: datetime) -> None:
    if not ended:
        return
    rows = [
        _run(ids, number, now + timedelta(microseconds=number))
        for number in range(ended)
    ]
    with database.begin() as connection:
        _insert(connection, rows)


def _insert(connection: Connection, rows: list[dict[str, Any]]) -> None:
    connection.execute(insert(runs), rows)
    fresh = [attempt | {"counted": False} for attempt in _attempts(rows)]
    connection.execute(insert(attempts), fresh)


def _run(ids: list[str], number: int, due: datetime) -> dict[str, Any]:
    schedule = ids[number % len(ids)]
    return {
        "id": run_id(schedule, "auto", due),
        "schedule_id": schedule,
        "schedule_key": f"bench-{number % len(ids)}",
        "origin": "auto",
        "due_at": due,
        "fires_at": due,
        "state": "succeeded",
        "task": "bench.task",
        "lane": "default",
        "args": [],
        "kwargs": {},
        "options": {},
        "revision": 1,
        "grace_until": due + timedelta(seconds=30),
        "late_after_seconds": 15.0,
        "concurrency_key": schedule,
        "published_at": due,
        "started_at": due,
        "finished_at": due + timedelta(seconds=1),
        "runtime_seconds": 1.0,
        "attempts": 1,
        "fence": 1,
        "updated_at": due + timedelta(seconds=1),
    }


def _attempts(rows: list[Any]) -> Iterator[dict[str, Any]]:
    for row in rows:
        yield {
            "run_id": row["id"],
            "task_id": row["id"],
            "task": row["task"],
            "retries": 0,
            "delivery": 1,
            "fence": 1,
            "state": "succeeded",
            "worker": "celery@one",
            "started_at": row["started_at"],
            "ended_at": row["finished_at"],
            "runtime_seconds": 1.0,
            "counted": True,
        }
