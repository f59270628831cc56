"""RedBeat's schedules, written by RedBeat itself into a real Redis, taken in."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from celery import Celery
from celery.schedules import crontab, schedule
from flask import Flask

from flask_metronome import Metronome, schema
from flask_metronome.cli import metronome_cli
from flask_metronome.operations import Operations
from flask_metronome.state import state_of

SERVER = shutil.which("redis-server")
pytestmark = pytest.mark.skipif(SERVER is None, reason="no redis-server here")
_START_SECONDS = 120.0


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    """A Redis of this test's own, on a socket: no port to fight for."""
    assert SERVER is not None
    path = tmp_path / "redis.sock"
    server = subprocess.Popen(
        [SERVER, "--port", "0", "--unixsocket", str(path), "--save", ""],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
    )
    try:
        _wait_until_ready(path, server)
        yield f"unix://{path}?db=0"
    finally:
        server.terminate()
        server.wait(60)


def _wait_until_ready(path: Path, server: subprocess.Popen[bytes]) -> None:
    give_up = time.monotonic() + _START_SECONDS
    while time.monotonic() < give_up and server.poll() is None:
        with closing(socket.socket(socket.AF_UNIX)) as probe:
            if path.exists() and probe.connect_ex(str(path)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError(f"Redis did not start within {_START_SECONDS:g} s")


def write_schedules(url: str) -> None:
    """What an app with RedBeat has: one of each kind."""
    redbeat: Any = pytest.importorskip("redbeat")
    rules: Any = pytest.importorskip("redbeat.schedules")
    peer = Celery("peer", broker="memory://", set_as_current=False)
    peer.conf.update(redbeat_redis_url=url, timezone="Europe/Berlin")
    start = datetime(2026, 1, 5, 9, tzinfo=ZoneInfo("Europe/Berlin"))
    entries: dict[str, tuple[Any, dict[str, Any]]] = {
        "half": (schedule(timedelta(seconds=1.5), app=peer), {"args": [1, "ü"]}),
        "mail": (
            crontab("*/15", "8-17", "mon-fri", app=peer),
            {"options": {"queue": "mail", "expires": 60, "priority": 3}},
        ),
        "off": (schedule(60, app=peer), {"enabled": False}),
        "rule": (rules.rrule("WEEKLY", dtstart=start, app=peer), {}),
        "spelt out": (crontab(0, 0, "fri", "13", app=peer), {}),
        "until": (
            schedule(60, app=peer),
            {"options": {"expires": datetime(2099, 1, 1, tzinfo=UTC), "eta": 1}},
        ),
    }
    for name, (cadence, more) in entries.items():
        redbeat.RedBeatSchedulerEntry(name, "t", cadence, app=peer, **more).save()


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Flask]:
    app = Flask("app", instance_path=str(tmp_path))
    app.config.update(
        METRONOME_DATABASE_URL=f"sqlite:///{tmp_path / 'm.sqlite'}",
        METRONOME_BROKER_URL="amqp://nobody@127.0.0.1:1//",
        METRONOME_LANES="default,mail",
    )

    @Metronome(app).task(name="t")
    def work() -> None:
        return

    schema.init_db(state_of(app).database)
    yield app
    state_of(app).database.dispose()


def take_in(app: Flask, url: str, *more: str) -> dict[str, dict[str, Any]]:
    words = ["import", "redbeat", "--url", url, "--tz", "Europe/Berlin", "--json"]
    result = app.test_cli_runner().invoke(metronome_cli, [*words, *more])
    assert result.exit_code == 0, result.output
    return {row["name"]: row for row in json.loads(result.output)["schedules"]}


def test_what_redbeat_wrote_is_taken_in(app: Flask, redis_url: str) -> None:
    write_schedules(redis_url)
    first = take_in(app, redis_url, "--dry-run")
    assert {row["verdict"] for row in first.values()} == {"new"}
    found = take_in(app, redis_url)
    assert {name: row["when"] for name, row in found.items()} == {
        "half": "every 1500 milliseconds",
        "mail": "every 15 minutes from 08:00 to 17:45, every weekday (Europe/Berlin)",
        "off": "every minute",
        "rule": "every Monday at 09:00, from 2026-01-05 09:00 (Europe/Berlin)",
        "spelt out": "cron 0 0 13 * 5, day and weekday both matching (Europe/Berlin)",
        "until": "every minute",
    }
    assert (found["mail"]["lane"], found["off"]["paused"]) == ("mail", True)
    (lost,) = found["until"]["lost"]
    assert lost.startswith("option eta")
    operations = Operations(state_of(app))
    assert operations.get("half").definition.args == (1, "ü")
    assert operations.get("mail").definition.start_deadline_seconds == 60
    assert operations.get("until").definition.end_at == datetime(2099, 1, 1, tzinfo=UTC)
    again = take_in(app, redis_url)
    assert {row["verdict"] for row in again.values()} == {"same"}
