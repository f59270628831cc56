"""What a monitor's sweep costs, by how much history there is.

It should follow what changed since the sweep before, and not the history. On
SQLite in a temporary file, or on the database of ``METRONOME_TEST_DATABASE_URL``,
whose Metronome tables it empties.
"""

from __future__ import annotations

import os
import tempfile
import time
import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, String, delete, func, insert, select, text

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

#: Schedules stored, and runs in the history, which grows.
SCHEDULES = 1_000
SIZES = (10_000, 100_000)
#: Only on a server: SQLite's file takes a while to fill.
SERVER_SIZES = (10_000, 100_000, 1_000_000)
QUICK_SIZES = (20, 40)
#: Runs that end between two sweeps.
ENDED = (0, 50)
_ROUNDS = 9
_CHUNK = 5_000


def measure(*, quick: bool) -> Table:
    """Fill, let some runs end, sweep and scrape."""
    with tempfile.TemporaryDirectory() as folder:
        default = f"sqlite:///{Path(folder) / 'bench.sqlite'}"
        url = os.environ.get("METRONOME_TEST_DATABASE_URL", default)
        database = Database(url, clock=SettableClock(), timeout_seconds=600)
        schema.init_db(database)
        rows = list(_rows(database, folder, quick=quick))
        title = f"sweep on {database.dialect}, best of {_ROUNDS}"
        database.dispose()
    return Table(
        title=title,
        columns=(
            "runs in history",
            "runs ended",
            "sweep, milliseconds",
            "scrape, milliseconds",
        ),
        rows=rows,
    )


def _rows(
    database: Database, folder: str, *, quick: bool
) -> Iterator[tuple[str, int, float, float]]:
    clock = database.clock
    assert isinstance(clock, SettableClock)
    with database.begin() as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(delete(table))
    ids = _fill_schedules(database, 5 if quick else SCHEDULES, clock.moment)
    settings = read_settings({}, instance_path=folder, environ={})
    monitor = Monitor(database, settings)
    sizes = SIZES if database.dialect == "sqlite" else SERVER_SIZES
    there, begin = 0, clock.moment
    for size in QUICK_SIZES if quick else sizes:
        there = _fill_history(database, ids, there, size, begin)
        for _ in range(4):  # what it does once after its start, pruning among it
            clock.tick(20)
            monitor.sweep()
        for ended in ENDED:
            yield (f"{size:,}", ended, *_round(database, monitor, ids, ended))


def _round(
    database: Database, monitor: Monitor, ids: list[str], ended: int
) -> tuple[float, float]:
    clock = database.clock
    assert isinstance(clock, SettableClock)
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
    # the best: what else the machine does is not ours
    return min(sweeps) * 1000, min(scrapes) * 1000


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
    database: Database, ids: list[str], there: int, history: int, now: datetime
) -> int:
    """Let the history grow to so many runs; how many there are."""
    while there < history:
        if database.dialect == "postgresql" and there >= _CHUNK:
            _double(database, more=min(there, history - there))
            there += min(there, history - there)
            continue
        count = min(_CHUNK, history - there)
        dues = (now - timedelta(seconds=60 + 5 * (there + n)) for n in range(count))
        rows = [
            _run(ids, number, due) | {"counted": True, "judged": 2}
            for number, due in enumerate(dues)
        ]
        with database.begin() as connection:
            connection.execute(insert(runs), rows)
            connection.execute(insert(attempts), list(_attempts(rows)))
        there += count
    if database.dialect == "postgresql":
        with database.engine.connect() as connection:
            outside = connection.execution_options(isolation_level="AUTOCOMMIT")
            outside.execute(text("VACUUM ANALYZE"))
    return there


def _double(database: Database, *, more: int) -> None:
    """Copy rows inside the server, to other due times: a million in no time."""
    fresh = func.gen_random_uuid().cast(String)
    # far enough apart that no two are the same, near enough not to be pruned
    apart = func.make_interval(0, 0, 0, 5) * func.random()
    values = {"id": fresh, "due_at": runs.c.due_at - apart}
    names = [column.name for column in runs.c]
    copied = select(*(values.get(name, runs.c[name]) for name in names)).limit(more)
    names_of_attempts = [c.name for c in attempts.c if c.name != "id"]
    again = select(
        *(
            fresh if name in ("run_id", "task_id") else attempts.c[name]
            for name in names_of_attempts
        )
    ).limit(more)
    with database.begin() as connection:
        connection.execute(insert(runs).from_select(names, copied))
        connection.execute(insert(attempts).from_select(names_of_attempts, again))


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
