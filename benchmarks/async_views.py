"""What an async view costs on our loop, beside Flask's own bridge.

The same read by the same driver. Flask's bridge makes a loop for each request, in
which no pooled engine can live, so each of its requests connects anew. On PostgreSQL
when ``METRONOME_TEST_DATABASE_URL`` says where, else on SQLite.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from flask import Flask
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from benchmarks.table import Table
from flask_metronome import Metronome
from flask_metronome.async_views import on_loop, reading
from flask_metronome.database import async_url
from flask_metronome.history import runs
from flask_metronome.schema import init_db

ROUNDS = 5
CLIENTS = 8


def measure(*, quick: bool) -> Table:
    """Ask both views by threads, in turn; the median of each."""
    count, rounds = (8, 1) if quick else (400, ROUNDS)
    with tempfile.TemporaryDirectory() as folder:
        url = os.environ.get("METRONOME_TEST_DATABASE_URL") or (
            f"sqlite:///{Path(folder) / 'bench.sqlite'}"
        )
        app = Flask("bench")
        app.config["METRONOME_DATABASE_URL"] = url
        app.config["METRONOME_DATA_DIR"] = folder
        state = Metronome(app).state
        init_db(state.database)
        _add_views(app, url)
        found: dict[str, list[float]] = {"/ours": [], "/flasks": []}
        try:
            for _ in range(rounds):
                # in turn, so that a busy machine is busy for both
                for path, speeds in found.items():
                    speeds.append(_speed(app, path, count))
        finally:
            state.loop.stop()
            state.database.dispose()
    ours, flasks = (statistics.median(speeds) for speeds in found.values())
    return Table(
        title=f"async view that reads, {CLIENTS} threads, on {url.partition(':')[0]}",
        columns=("runs on", "requests per second", "ours is so many times faster"),
        rows=[
            ("our loop, pooled engine", ours, 1.0),
            ("Flask's bridge, a connection each", flasks, ours / flasks),
        ],
    )


def _add_views(app: Flask, url: str) -> None:
    @app.get("/ours")
    @on_loop
    async def ours() -> dict[str, Any]:
        async with reading() as connection:
            part = await runs.list_runs(connection, runs.RunFilter(), limit=20)
        return {"items": len(part.items)}

    @app.get("/flasks")
    async def flasks() -> dict[str, Any]:
        engine = create_async_engine(async_url(url), poolclass=NullPool)
        async with engine.connect() as connection:
            part = await runs.list_runs(connection, runs.RunFilter(), limit=20)
        return {"items": len(part.items)}


def _speed(app: Flask, path: str, count: int) -> float:
    def ask(_: int) -> int:
        return app.test_client().get(path).status_code

    began = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as pool:
        statuses = set(pool.map(ask, range(count)))
    if statuses != {200}:
        raise RuntimeError(f"{path} answered {statuses}")
    return count / (time.perf_counter() - began)
