"""What storing a task's results costs, beside Celery's own database backend.

In the order a worker asks for it: STARTED, then SUCCESS. On PostgreSQL when
``METRONOME_TEST_DATABASE_URL`` says where, else on SQLite, for both alike.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from celery import Celery, states
from celery.app.task import Context
from flask import Flask

from benchmarks.table import Table
from flask_metronome import Metronome
from flask_metronome.schema import init_db

ROUNDS = 5
_REQUEST = {
    "args": [1],
    "kwargs": {"customer": 7},
    "task": "shop.report",
    "hostname": "celery@bench",
    "retries": 0,
    "delivery_info": {"routing_key": "default.shop:report"},
}


def measure(*, quick: bool) -> Table:
    """Store pairs of results with both backends in turn; the median of each."""
    count, rounds = (10, 1) if quick else (200, ROUNDS)
    with tempfile.TemporaryDirectory() as folder:
        url = os.environ.get("METRONOME_TEST_DATABASE_URL") or (
            f"sqlite:///{Path(folder) / 'bench.sqlite'}"
        )
        url = url.replace("postgresql://", "postgresql+psycopg://", 1)
        ours, close = _ours(url, folder)
        celerys = _celerys(url, forked=False)
        in_child = _celerys(url, forked=True)
        backends = {
            "Metronome's": ours,
            "Celery's, pool process": in_child,
            "Celery's, thread or solo": celerys,
        }
        try:
            speeds = _speeds(backends, count, rounds)
        finally:
            close()
    own = speeds["Metronome's"]
    return Table(
        title=f"results of a task (STARTED, SUCCESS) on {url.partition(':')[0]}",
        columns=("backend", "tasks per second", "Metronome's is so many times faster"),
        rows=[(name, speed, own / speed) for name, speed in speeds.items()],
    )


def _speeds(backends: dict[str, Any], count: int, rounds: int) -> dict[str, float]:
    found: dict[str, list[float]] = {name: [] for name in backends}
    for backend in backends.values():
        _store(backend, 3)  # tables, connections
    for _ in range(rounds):
        # in turn, so that a busy machine is busy for all of them
        for name, backend in backends.items():
            found[name].append(_store(backend, count))
    return {name: statistics.median(speeds) for name, speeds in found.items()}


def _store(backend: Any, count: int) -> float:
    began = time.perf_counter()
    for _ in range(count):
        request = Context(id=str(uuid.uuid4()), **_REQUEST)
        backend.store_result(request.id, {"pid": 1}, states.STARTED, request=request)
        backend.store_result(request.id, {"sent": 3}, states.SUCCESS, request=request)
    return count / (time.perf_counter() - began)


def _ours(url: str, folder: str) -> tuple[Any, Callable[[], None]]:
    flask_app = Flask("bench")
    flask_app.config.update(
        METRONOME_DATABASE_URL=url,
        METRONOME_DATA_DIR=folder,
        METRONOME_BROKER_URL="amqp://127.0.0.1:1//",
    )
    metronome = Metronome(flask_app)
    init_db(metronome.state.database)
    return metronome.celery.backend, metronome.state.database.dispose


def _celerys(url: str, *, forked: bool) -> Any:
    app = Celery("bench", set_as_current=False)
    app.conf.update(
        result_backend=f"db+{url}", result_extended=True, result_serializer="json"
    )
    backend = app.backend
    # it keeps connections only in a forked child, which it tells by this flag
    backend.session_manager.forked = forked
    return backend
