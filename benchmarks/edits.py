"""How soon a beat acts on an edit, from its commit to the planned run.

A beat's own loop, with nothing else due: told by the database where it can tell
(PostgreSQL, ``METRONOME_TEST_DATABASE_URL``, whose Metronome tables are emptied), or
looking once a second, as everywhere else.
"""

from __future__ import annotations

import os
import random
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flask import Flask
from sqlalchemy import delete

from benchmarks.table import Table
from flask_metronome import Definition, Metronome, every, schema
from flask_metronome.beat import Ticker
from flask_metronome.core.cadence import Cadence
from flask_metronome.models import runs, schedules
from flask_metronome.state import State, state_of
from flask_metronome.store import schedules as schedule_store
from flask_metronome.wakeups import Wakeups

#: Due at once, for what a person can tell; and not due while this runs.
_SOON, _LATER = every(0.01), every(7, "days")
_PATIENCE_SECONDS = 30.0


def measure(*, quick: bool) -> Table:
    """Edit one schedule again and again, and wait for its run each time."""
    edits = 2 if quick else 20
    with tempfile.TemporaryDirectory() as folder:
        state = _state(Path(folder))
        ways = ["polled"]
        if state.database.dialect == "postgresql":
            ways = ["notified", *ways]
        rows = [(way, *_delays(state, way, edits)) for way in ways]
        title = f"edit to planned run on {state.database.dialect}, {edits} edits"
        state.database.dispose()
    return Table(
        title=title,
        columns=("the beat is", "median, milliseconds", "longest, milliseconds"),
        rows=rows,
    )


def _state(folder: Path) -> State:
    app = Flask("bench", instance_path=str(folder))
    default = f"sqlite:///{folder / 'bench.sqlite'}"
    app.config.update(
        METRONOME_DATABASE_URL=os.environ.get("METRONOME_TEST_DATABASE_URL", default),
        METRONOME_BROKER_URL="amqp://nobody.invalid//",
    )
    Metronome(app)
    state = state_of(app)
    schema.init_db(state.database)
    with state.database.begin() as connection:
        connection.execute(delete(runs))
        connection.execute(delete(schedules))
        schedule_store.add(
            connection,
            _definition(_LATER),
            owner="api",
            who="bench",
            now=state.database.now(connection),
        )
    return state


def _definition(cadence: Cadence) -> Definition:
    return Definition(key="bench", task="bench.task", cadence=cadence, overlap="allow")


def _delays(state: State, way: str, edits: int) -> tuple[float, float]:
    spent: list[float] = []
    moments = random.Random(7)
    with _beating(state, listening=way == "notified") as planned:
        for _ in range(edits):
            # at any moment of the beat's sleep
            time.sleep(moments.uniform(0.1, 1.1))
            planned.clear()
            _edit(state, _SOON)
            began = time.perf_counter()
            if not planned.wait(_PATIENCE_SECONDS):
                raise RuntimeError(f"nothing was planned in {_PATIENCE_SECONDS:g} s")
            spent.append(time.perf_counter() - began)
            _edit(state, _LATER)
    return statistics.median(spent) * 1000, max(spent) * 1000


def _edit(state: State, cadence: Cadence) -> None:
    with state.database.begin() as connection:
        schedule_store.replace_definition(
            connection,
            "bench",
            _definition(cadence),
            who="bench",
            now=state.database.now(connection),
        )


@contextmanager
def _beating(state: State, *, listening: bool) -> Iterator[threading.Event]:
    """A beat's loop in a thread; the event says that it has planned a run."""
    planned, stopping = threading.Event(), threading.Event()
    ticker, wakeups = (
        Ticker(state.database, state.settings, "b"),
        Wakeups(state.database),
    )

    def beat() -> None:
        while not stopping.is_set():
            report, now = ticker.tick()
            if report.planned:
                planned.set()
            longest = state.settings.beat_max_sleep_seconds
            due = report.next_due_at
            left = longest if due is None else (due - now).total_seconds()
            wakeups.sleep(min(longest, max(left, 0.001)))

    if listening:
        wakeups.start()
    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield planned
    finally:
        stopping.set()
        wakeups.stop()
        thread.join(_PATIENCE_SECONDS)
