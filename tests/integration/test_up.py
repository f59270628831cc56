"""`flask --app app metronome up` for a user's app of ten lines."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from supervised import Supervised, descendants, fetch, is_alive, status_of, supervised

TEN_LINES = Path(__file__).parents[2] / "examples" / "tenlines" / "app.py"
READY_SECONDS = 120.0


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Supervised]:
    shutil.copy(TEN_LINES, tmp_path / "app.py")
    with socket.socket() as taken:
        # The next port is to be taken instead, and said.
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        words = ("flask", "--app", "app", "metronome", "up", "--concurrency", "2")
        with supervised(
            *words, "--port", port, "--flower-port", "5755", cwd=tmp_path
        ) as up:
            up.wait_for(lambda: up.url_of("page"), seconds=READY_SECONDS)
            assert f"port {port} is taken: web listens on" in up.output
            assert f":{port}/" not in up.url_of("page")
            yield up


def test_ten_lines_run_every_ten_seconds_and_stop_without_a_trace(
    up: Supervised, tmp_path: Path
) -> None:
    api = up.url_of("page") + "api/v1/runs?state=succeeded"

    def succeeded() -> list[dict[str, str]]:
        found = fetch(api)
        items: list[dict[str, str]] = found["items"] if found else []
        return items

    run = up.wait_for(succeeded, seconds=30)[0]
    assert run["schedule_key"] == "say-hello"
    assert "hello" in up.output
    assert status_of(up.url_of("page")) == 200
    assert status_of(up.url_of("Flower")) == 200
    names = {line.split()[1] for line in up.lines if " | " in line}
    assert {"beat", "worker", "monitor"} <= names

    started = descendants(up.process.pid)
    assert len(started) >= 6, "broker, web, beat, worker, monitor, Flower"
    assert up.end(signal.SIGINT) == 0, up.output
    assert [pid for pid in started if is_alive(pid)] == []
    assert up.lines[-1] == "All stopped."
    assert not list(tmp_path.rglob("broker.json"))


def test_a_part_that_dies_is_named_and_stops_the_rest(up: Supervised) -> None:
    started = descendants(up.process.pid)
    monitor = next(pid for pid in started if "monitor" in _command_line(pid))
    os.kill(monitor, signal.SIGKILL)
    assert up.process.wait(timeout=60) == 1
    up.close()
    assert "monitor ended by itself with signal 9; stopping the others." in up.output
    assert [pid for pid in started if is_alive(pid)] == []


def test_nothing_but_the_broker_outlives_a_supervisor_that_is_killed(
    up: Supervised, tmp_path: Path
) -> None:
    started = descendants(up.process.pid)
    # The broker waits for an heir and ends by itself; here none will come.
    note = json.loads(next(tmp_path.rglob("broker.json")).read_text())
    started.remove(note["pid"])
    up.process.kill()
    up.process.wait()
    deadline = time.monotonic() + 15
    while any(is_alive(pid) for pid in started) and time.monotonic() < deadline:
        time.sleep(0.1)
    os.kill(note["pid"], signal.SIGTERM)
    assert [_command_line(pid) for pid in started if is_alive(pid)] == []


def test_an_app_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with supervised("flask", "--app", "nope", "metronome", "up", cwd=tmp_path) as up:
        assert up.process.wait(timeout=60) == 2
        up.close()
        assert up.lines == ["Error: Could not import 'nope'."]


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""
