"""The API on the servers that people run: many clients, streams, and an outage."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from proxy import Proxy
from seeded_shop import LANES, seed

from flask_metronome import Metronome
from flask_metronome.models import metadata
from flask_metronome.state import state_of

API = "/metronome/api/v1"
PATIENCE_SECONDS = 60.0
_WSGI = """
import os
from flask import Flask, request
from flask_metronome import Metronome

app = Flask("shop", instance_path=os.environ["SHOP_FOLDER"])
metronome = Metronome(app)


@metronome.task(name="shop.stock_sync")
def stock_sync():
    pass


@app.get("/own/<int:number>")
async def own(number):
    # an async view of the host's, which runs as Flask runs it
    return {"number": number, "path": request.path}
"""
SERVERS = {
    "gunicorn": ["gunicorn", "-k", "gthread", "--threads=8", "--preload", "-b", "{at}"],
    "waitress": ["waitress", "--threads=8", "--listen={at}"],
    "granian": [
        "granian",
        "--interface=wsgi",
        "--host={host}",
        "--port={port}",
        "--blocking-threads=8",
    ],
    "flask": ["flask", "run", "--host={host}", "--port={port}"],
}


@pytest.fixture
def seeded(database_url: str, tmp_path: Path) -> str:
    """URL of a database with a shop's past."""
    app = Flask("shop", instance_path=str(tmp_path))
    app.config["METRONOME_DATABASE_URL"] = database_url
    app.config["METRONOME_LANES"] = ",".join(LANES)
    Metronome(app)
    database = state_of(app).database
    metadata.create_all(database.engine)
    with database.begin() as connection:
        seed(connection, datetime.now(UTC))
    database.dispose()
    return database_url


@contextmanager
def server(
    kind: str, folder: Path, database_url: str, database_seconds: float = 30
) -> Iterator[str]:
    """A server as a process, ready to answer; its URL."""
    (folder / "shop_wsgi.py").write_text(_WSGI)
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    words = [
        word.format(at=f"127.0.0.1:{port}", host="127.0.0.1", port=port)
        for word in SERVERS[kind]
    ]
    if kind == "flask":
        words[1:1] = ["--app=shop_wsgi"]
    else:
        words.append("shop_wsgi:app")
    log = folder / "server.log"
    environ = {
        **os.environ,
        "METRONOME_DATABASE_URL": database_url,
        "METRONOME_DATABASE_TIMEOUT_SECONDS": str(database_seconds),
        "METRONOME_STREAMS": "1",
        "METRONOME_STREAM_SECONDS": "120",
        "METRONOME_LANES": ",".join(LANES),
        "SHOP_FOLDER": str(folder),
        "PYTHONPATH": str(folder),
    }
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", *words],
            cwd=folder,
            env=environ,
            stdout=out,
            stderr=out,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(lambda: asked(f"{url}/metronome/healthz")[0] == 200, log)
        yield url
    finally:
        process.terminate()
        try:
            process.wait(40)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
    assert "Traceback" not in log.read_text(), log.read_text()


def wait_for(is_so: Any, log: Path | None = None) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        said = log.read_text() if log is not None else "too late"
        assert time.monotonic() < deadline, said
        time.sleep(0.2)


def asked(url: str, **options: Any) -> tuple[int, Any]:
    """Status and JSON of an answer; 0: none."""
    request = urllib.request.Request(url, **options)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)
    except OSError:
        return 0, None


def stream_status(url: str) -> int:
    """The status of a stream that is closed at once."""
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE_SECONDS) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


@pytest.mark.parametrize("kind", SERVERS)
def test_many_clients_and_a_stream(kind: str, seeded: str, tmp_path: Path) -> None:
    with server(kind, tmp_path, seeded) as url, ThreadPoolExecutor(30) as pool:
        lists = pool.map(asked, [f"{url}{API}/runs?limit=5"] * 60)
        own = pool.map(asked, [f"{url}/own/{number}" for number in range(60)])
        assert {(status, len(found["items"])) for status, found in lists} == {(200, 5)}
        assert [found for _, found in own] == [
            {"number": number, "path": f"/own/{number}"} for number in range(60)
        ]

        with urllib.request.urlopen(f"{url}{API}/stream", timeout=30) as stream:
            assert stream.headers["Content-Type"] == "text/event-stream"
            assert stream.readline() == b"retry: 2000\n"
            assert stream_status(f"{url}{API}/stream") == 503
            made = asked(f"{url}{API}/schedules/stock-sync/trigger", method="POST")[1]
            told = next(line for line in stream if made["id"].encode() in line)
            assert json.loads(told.removeprefix(b"data: "))["state"] == "planned"
        # its place is free once the server sees that its client is gone
        wait_for(lambda: stream_status(f"{url}{API}/stream") == 200)


def test_a_database_that_stands_still_holds_nobody(seeded: str, tmp_path: Path) -> None:
    with (
        closing(Proxy(seeded)) as proxy,
        server("gunicorn", tmp_path, proxy.url, database_seconds=2) as url,
        ThreadPoolExecutor(8) as pool,
    ):
        path = f"{url}{API}/runs?limit=5"
        wait_for(lambda: asked(path)[0] == 200)
        proxy.freeze()
        answers = list(pool.map(asked, [path] * 16))
        assert {status for status, _ in answers} <= {503, 504}
        assert all("detail" in found for _, found in answers)
        assert asked(f"{url}/own/1")[0] == 200
        assert asked(f"{url}/metronome/readyz")[0] == 503
        proxy.thaw()
        wait_for(lambda: asked(path)[0] == 200)
