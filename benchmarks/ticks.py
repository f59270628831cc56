"""What a beat's tick costs, by how much is due and by how many schedules there are.

It should follow the first and not the second. On SQLite in a temporary file, or on
the database of ``METRONOME_TEST_DATABASE_URL``, whose Metronome tables it empties.
"""

from __future__ import annotations

import os
import tempfile
import time
from datetime import timedelta
from pathlib import Path

from sqlalchemy import delete

from benchmarks.table import Table
from flask_metronome import schema
from flask_metronome.core.every import every
from flask_metronome.core.schedule import Definition
from flask_metronome.database import Database
from flask_metronome.models import runs, schedules
from flask_metronome.store import schedules as schedule_store
from flask_metronome.store.ticks import tick
from flask_metronome.testing import SettableClock

#: Schedules stored, and how many of them are due at once.
SIZES = ((100, 100), (1_000, 100), (10_000, 100), (10_000, 0), (1_000, 1_000))
QUICK_SIZES = ((20, 10), (20, 0))
_ROUNDS = 5
_BATCH = 200


def measure(*, quick: bool) -> Table:
    """Fill, move the clock on, tick until nothing is due."""
    with tempfile.TemporaryDirectory() as folder:
        default = f"sqlite:///{Path(folder) / 'bench.sqlite'}"
        url = os.environ.get("METRONOME_TEST_DATABASE_URL", default)
        database = Database(url, clock=SettableClock())
        schema.init_db(database)
        sizes = QUICK_SIZES if quick else SIZES
        rows = [
            (f"{stored:,}", due, *_round(database, stored, due))
            for stored, due in sizes
        ]
        title = f"tick on {database.dialect}, batches of {_BATCH}, {_ROUNDS} rounds"
        database.dispose()
    return Table(
        title=title,
        columns=("schedules stored", "due", "milliseconds", "due runs per second"),
        rows=rows,
    )


def _round(database: Database, stored: int, due: int) -> tuple[float, float]:
    _fill(database, stored, due)
    clock = database.clock
    assert isinstance(clock, SettableClock)
    spent = 0.0
    for _ in range(_ROUNDS):
        clock.tick(60)
        began = time.perf_counter()
        _tick_all(database)
        spent += time.perf_counter() - began
    return spent / _ROUNDS * 1000, due * _ROUNDS / spent


def _tick_all(database: Database) -> None:
    full = True
    while full:
        with database.begin() as connection:
            now = database.now(connection)
            report = tick(
                connection, now=now, batch=_BATCH, owner="bench", lease_seconds=30
            )
        full = report.full


def _fill(database: Database, stored: int, due: int) -> None:
    with database.begin() as connection:
        connection.execute(delete(runs))
        connection.execute(delete(schedules))
        now = database.now(connection)
        for number in range(stored):
            cadence = every(1, "minute") if number < due else every(7, "days")
            definition = Definition(
                key=f"bench-{number}",
                task="bench.task",
                cadence=cadence,
                overlap="allow",
                start_at=now - timedelta(days=1),
            )
            schedule_store.add(
                connection, definition, owner="api", who="bench", now=now
            )
