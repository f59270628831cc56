"""API and pages on PostgreSQL: indexes, deadlines, and a server that forks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from page_reads import assert_reads
from seeded_shop import LANES, seed
from seeded_troubles import seed_troubles
from sqlalchemy import event, text

from flask_metronome import Metronome
from flask_metronome.async_views import reading
from flask_metronome.errors import DatabaseUnreachable
from flask_metronome.history import runs, schedules, troubled
from flask_metronome.history.backlog import see_backlog
from flask_metronome.models import metadata
from flask_metronome.state import State, state_of

_MANY = """
INSERT INTO metronome_runs (
  id, schedule_id, schedule_key, origin, due_at, fires_at, state, task, lane,
  args, kwargs, options, revision, grace_until, late_after_seconds,
  concurrency_key, missed, updated_at)
SELECT gen_random_uuid()::text, s.id, s.key, 'auto', due, due,
  CASE WHEN n % 997 = 0 THEN 'failed' ELSE 'succeeded' END, s.task, s.lane,
  '[]', '{}', '{}', 1, due, 30, s.id, n % 1499 = 0, due
FROM metronome_schedules s, generate_series(1, 2000) n,
  LATERAL (SELECT now() - interval '90 days' + n * interval '1 second' AS due) d
"""


@pytest.fixture
def state(database_url: str, tmp_path: Path) -> Iterator[State]:
    app = Flask("shop", instance_path=str(tmp_path))
    app.config["METRONOME_DATABASE_URL"] = database_url
    app.config["METRONOME_LANES"] = ",".join(LANES)
    app.config["METRONOME_DATABASE_TIMEOUT_SECONDS"] = 5
    Metronome(app)
    state = state_of(app)
    metadata.create_all(state.database.engine)
    with state.database.begin() as connection:
        seed(connection, datetime.now(UTC))
        seed_troubles(connection, datetime.now(UTC))
    yield state
    state.loop.stop()
    state.database.dispose()


def test_every_read_works_on_postgresql(state: State) -> None:
    assert_reads(state.flask_app.test_client())


def test_paging_goes_through_a_schedule_once(state: State) -> None:
    client = state.flask_app.test_client()
    seen: list[str] = []
    cursor = ""
    while cursor is not None:
        query = f"?limit=7&cursor={cursor}" if cursor else "?limit=7"
        path = f"/metronome/api/v1/schedules/stock-sync/runs{query}"
        part: Any = client.get(path).json
        seen += [run["id"] for run in part["items"]]
        cursor = part["next_cursor"]

    assert len(seen) == len(set(seen)) == 70


def test_no_list_reads_the_whole_history(state: State) -> None:
    with state.database.begin() as connection:
        connection.execute(text(_MANY))
    with state.database.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        connection.execute(text("ANALYZE"))
    asked: list[tuple[str, Any]] = []
    middle = datetime.now(UTC) - timedelta(days=90) + timedelta(minutes=40)

    async def ask() -> None:
        engine = state.loop.engine.sync_engine
        event.listen(
            engine, "before_cursor_execute", lambda *a: asked.append((a[2], a[3]))
        )
        async with reading(state) as connection:
            found = await schedules.list_schedules(
                connection, schedules.ScheduleFilter()
            )
            ids = [item.id for item in found.items]
            asked.clear()
            for wanted in (
                runs.RunFilter(),
                runs.RunFilter(due_before=middle),
                runs.RunFilter(states=("failed", "timed_out", "lost")),
                runs.RunFilter(flags=("missed",)),
                runs.RunFilter(schedule="stock-sync", due_before=middle),
            ):
                part = await runs.list_runs(connection, wanted, limit=50)
                if part.next_cursor:
                    await runs.list_runs(
                        connection, wanted, limit=50, cursor=part.next_cursor
                    )
            await schedules.strips(connection, ids)
            await troubled.standings(connection, datetime.now(UTC), limit=6)
            await runs.neighbours_of(connection, part.items[0])
            await see_backlog(connection, datetime.now(UTC))

    state.loop.run(ask())
    statements = [pair for pair in asked if "metronome_runs" in pair[0]]
    assert len(statements) >= 14
    for statement, parameters in statements:
        with state.database.engine.connect() as connection:
            answer = connection.exec_driver_sql(
                "EXPLAIN (ANALYZE, FORMAT JSON) " + statement, parameters
            ).scalar_one()
        read = _rows_read(answer[0]["Plan"])
        assert read < 2000, f"{read} rows read by {statement}\n{answer}"


def _rows_read(node: dict[str, Any]) -> float:
    """Rows of the history that a plan touched, the filtered ones too."""
    own = 0.0
    if node.get("Relation Name") == "metronome_runs":
        each = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
        own = each * node["Actual Loops"]
    return own + sum(_rows_read(below) for below in node.get("Plans", ()))


def test_a_statement_has_a_deadline_and_cannot_write(state: State) -> None:
    async def ask(statement: str) -> None:
        async with reading(state) as connection:
            await connection.execute(text(statement))

    with pytest.raises(DatabaseUnreachable, match="read-only"):
        state.loop.run(ask("DELETE FROM metronome_audit"))
    began = time.monotonic()
    with pytest.raises(Exception, match=r"longer than|statement timeout"):
        state.loop.run(ask("SELECT pg_sleep(60)"))
    assert time.monotonic() - began < 15


def test_after_a_restart_of_all_sessions_the_next_request_works(state: State) -> None:
    client = state.flask_app.test_client()
    assert client.get("/metronome/api/v1/stats").status_code == 200
    with state.database.begin() as connection:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )

    assert client.get("/metronome/api/v1/stats").status_code == 200


_WSGI = """
import os
from flask import Flask
from flask_metronome import Metronome

app = Flask("shop", instance_path=os.environ["SHOP_FOLDER"])
Metronome(app)
# a loop of the parent's, before it forks
app.test_client().get("/metronome/api/v1/stats")
"""


def test_gunicorn_with_threads_and_a_preloaded_app(
    state: State, database_url: str, tmp_path: Path
) -> None:
    (tmp_path / "shop_wsgi.py").write_text(_WSGI)
    options = ["--workers=2", "--threads=8", "--preload", "--bind=127.0.0.1:0"]
    log = (tmp_path / "gunicorn.log").open("w+")
    server = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", "-k", "gthread", *options, "shop_wsgi:app"],
        cwd=tmp_path,
        stderr=log,
        env={
            **os.environ,
            "METRONOME_DATABASE_URL": database_url,
            "SHOP_FOLDER": str(tmp_path),
            "PYTHONPATH": str(tmp_path),
        },
    )
    try:
        url = _listening(tmp_path / "gunicorn.log", server)
        with ThreadPoolExecutor(16) as pool:
            path = f"{url}/metronome/api/v1/runs?limit=20"
            answers = list(pool.map(_items, [path] * 200))
        assert set(answers) == {20}
    finally:
        server.send_signal(signal.SIGTERM)
        code = server.wait(60)
        log.close()
    said = (tmp_path / "gunicorn.log").read_text()
    assert code == 0, said
    assert "Traceback" not in said, said


def _listening(log: Path, server: subprocess.Popen[bytes]) -> str:
    until = time.monotonic() + 30
    while time.monotonic() < until and server.poll() is None:
        for line in log.read_text().splitlines():
            if "Listening at: " in line:
                return line.partition("Listening at: ")[2].split()[0]
        time.sleep(0.1)
    pytest.fail(f"gunicorn did not start: {log.read_text()}")


def _items(url: str) -> int:
    with urllib.request.urlopen(url, timeout=60) as answer:
        return len(json.load(answer)["items"])
