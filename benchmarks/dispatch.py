"""What it costs a beat to bring a due run to the broker, from tick to confirm.

In processor time, which a busy machine does not change: a beat on a core of its own
can do a million divided by the sum of both microseconds. On SQLite and the embedded
broker, or on ``METRONOME_TEST_DATABASE_URL``, whose Metronome tables it empties, and
``METRONOME_TEST_BROKER_URL``.
"""

from __future__ import annotations

import os
import tempfile
import time
from datetime import timedelta
from pathlib import Path

from flask import Flask
from sqlalchemy import delete

from benchmarks.table import Table
from flask_metronome import Definition, Metronome, every, schema
from flask_metronome.beat import Ticker
from flask_metronome.models import runs, schedules
from flask_metronome.publishing import PublisherThread
from flask_metronome.state import State, state_of
from flask_metronome.store import schedules as schedule_store
from flask_metronome.testing import SettableClock
from metronome_broker import pick_broker

DUE = (10, 100, 1_000)
QUICK_DUE = (10,)
_ROUNDS = 5


def measure(*, quick: bool) -> Table:
    """So many schedules due in each second: tick and publish until nothing is left."""
    with tempfile.TemporaryDirectory() as folder:
        broker = pick_broker(
            url=os.environ.get("METRONOME_TEST_BROKER_URL"),
            choice="embedded",
            data_dir=Path(folder),
        )
        try:
            state = _state(Path(folder), broker.url)
            sizes = QUICK_DUE if quick else DUE
            rows = [(f"{due:,}", *_costs(state, due)) for due in sizes]
            title = f"dispatch on {state.database.dialect}, {_ROUNDS} rounds"
            state.database.dispose()
        finally:
            broker.stop()
    return Table(
        title=f"{title}, to: {broker.kind}",
        columns=("due at once", "tick, µs of CPU a run", "publish, µs of CPU a run"),
        rows=rows,
    )


def _state(folder: Path, broker_url: str) -> State:
    app = Flask("bench", instance_path=str(folder))
    default = f"sqlite:///{folder / 'bench.sqlite'}"
    app.config.update(
        METRONOME_DATABASE_URL=os.environ.get("METRONOME_TEST_DATABASE_URL", default),
        METRONOME_BROKER_URL=broker_url,
        METRONOME_CONFIRM_TIMEOUT_SECONDS=60,
    )
    Metronome(app)
    state = state_of(app)
    state.database.clock = SettableClock()
    schema.init_db(state.database)
    state.topology.apply(broker_url)
    return state


def _costs(state: State, due: int) -> tuple[float, float]:
    _fill(state, due)
    ticker = Ticker(state.database, state.settings, "bench")
    publishing = PublisherThread(state, "bench")
    clock = state.database.clock
    assert isinstance(clock, SettableClock)
    spent = [0.0, 0.0]
    for _ in range(_ROUNDS):
        clock.tick(1)
        full = True
        while full:
            began = time.process_time()
            report, _ = ticker.tick()
            ticked = time.process_time()
            full = report.full
            publishing.hand_over(report.outbox)
            if report.outbox:
                publishing._turn()
            spent[0] += ticked - began
            spent[1] += time.process_time() - ticked
    publishing._publisher.close()
    if publishing.published != due * _ROUNDS:
        raise RuntimeError(f"only {publishing.published} were published")
    whole = due * _ROUNDS
    return spent[0] / whole * 1e6, spent[1] / whole * 1e6


def _fill(state: State, due: int) -> None:
    with state.database.begin() as connection:
        connection.execute(delete(runs))
        connection.execute(delete(schedules))
        now = state.database.now(connection)
        for number in range(due):
            said = Definition(
                key=f"bench-{number}",
                task="bench.task",
                cadence=every(1),
                overlap="allow",
                start_at=now - timedelta(days=1),
            )
            schedule_store.add(connection, said, owner="api", who="bench", now=now)
