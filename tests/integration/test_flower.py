"""``celery -A app flower`` as a process: who gets in, and what it shows."""

from __future__ import annotations

import base64
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

APP = """
from flask import Flask
from flask_metronome import Metronome, every

app = Flask(__name__)
metronome = Metronome(app)


@metronome.task(name="shop.tick", schedule=every(60), key="tick")
def tick():
    return 1
"""
MODULE = "shop_of_flower"
DEADLINE_SECONDS = 120.0
_FOREIGN = ("FLOWER_", "METRONOME_")


@dataclass(kw_only=True)
class Answer:
    """What came back over HTTP."""

    status: int
    text: str
    type: str


@dataclass(kw_only=True)
class FlowerProcess:
    """A running Flower and where it answers."""

    port: int
    log: Path
    prefix: str = ""

    def ask(
        self, path: str, credentials: str | None = None, method: str = "GET"
    ) -> Answer:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{self.prefix}{path}", method=method
        )
        if credentials is not None:
            coded = base64.b64encode(credentials.encode()).decode()
            request.add_header("Authorization", f"Basic {coded}")
        if method == "POST":
            request.data = b"{}"
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return Answer(
                    status=answer.status,
                    text=answer.read().decode(),
                    type=answer.headers["Content-Type"],
                )
        except urllib.error.HTTPError as error:
            with error:
                return Answer(status=error.code, text="", type="")


@dataclass(kw_only=True)
class Shop:
    """A user's app in a folder, with a database and the embedded broker."""

    folder: Path
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def data_dir(self) -> Path:
        return self.folder / "data"

    def env(self, **more: str) -> dict[str, str]:
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(_FOREIGN)
        }
        return {
            **inherited,
            "METRONOME_DATA_DIR": str(self.data_dir),
            "PYTHONPATH": str(self.folder),
            **self.environ,
            **more,
        }

    @contextlib.contextmanager
    def flower(
        self, *options: str, prefix: str = "", **environ: str
    ) -> Iterator[FlowerProcess]:
        """Flower by the plain command, ready to answer; ended at the end."""
        port = _free_port()
        log = self.folder / "flower.log"
        with log.open("w") as out:
            process = subprocess.Popen(
                _python("celery", "-A", MODULE, "flower", f"--port={port}", *options),
                cwd=self.folder,
                env=self.env(**environ),
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        running = FlowerProcess(port=port, log=log, prefix=prefix)
        try:
            _wait_until_ready(running, process)
            yield running
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(10)


def _python(module: str, *words: str) -> list[str]:
    return [sys.executable, "-m", module, *words]


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _wait_until_ready(running: FlowerProcess, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        with contextlib.suppress(OSError):
            if running.ask("/healthcheck").status == 200:
                return
        time.sleep(0.2)
    pytest.fail(f"Flower did not start:\n{running.log.read_text()}")


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The embedded broker's URL; a process for this module."""
    port, management = _free_port(), _free_port()
    log = tmp_path_factory.mktemp("broker") / "broker.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            _python(
                "metronome_broker.embedded",
                f"--port={port}",
                f"--management-port={management}",
            ),
            stdout=out,
            stderr=out,
        )
    try:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while True:
            with (
                contextlib.suppress(OSError),
                socket.create_connection(("127.0.0.1", port), 1),
            ):
                break
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield f"amqp://guest:guest@127.0.0.1:{port}//"
    finally:
        process.terminate()
        process.wait(60)


@pytest.fixture
def shop(tmp_path: Path, broker: str) -> Shop:
    (tmp_path / f"{MODULE}.py").write_text(APP)
    found = Shop(folder=tmp_path, environ={"METRONOME_BROKER_URL": broker})
    for command in ("init-db", "sync"):
        done = subprocess.run(
            _python("flask", "--app", MODULE, "metronome", command),
            cwd=tmp_path,
            env=found.env(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    return found


def test_nothing_but_the_health_check_is_open(shop: Shop) -> None:
    with shop.flower() as flower:
        for path in (
            "/",
            "/workers",
            "/tasks",
            "/api/tasks",
            "/api/workers",
            "/metrics",
        ):
            assert flower.ask(path).status == 401, path
            assert flower.ask(path, "metronome:wrong").status == 401, path
        assert flower.ask("/healthcheck").text == "OK"


def test_the_password_is_made_once_kept_private_and_said(shop: Shop) -> None:
    file = shop.data_dir / "flower-password"
    with shop.flower() as flower:
        password = file.read_text().strip()
        assert file.stat().st_mode & 0o777 == 0o600
        assert len(password) >= 20
        lines = [
            line for line in flower.log.read_text().splitlines() if password in line
        ]
        assert len(lines) == 1
        for path in ("/", "/api/tasks", "/metrics"):
            assert flower.ask(path, f"metronome:{password}").status == 200, path
    with shop.flower() as flower:
        assert file.read_text().strip() == password
        assert flower.ask("/", f"metronome:{password}").status == 200


def test_metrics_are_flowers_and_ours(shop: Shop) -> None:
    with shop.flower(METRONOME_FLOWER_PASSWORD="s3cret") as flower:
        answer = flower.ask("/metrics", "metronome:s3cret")
        assert answer.type.startswith("text/plain; version=")
        assert "metronome_database_up 1.0" in answer.text
        assert 'metronome_schedule_enabled{schedule="tick"} 1.0' in answer.text
        assert 'schedule="tick",task="shop.tick"} 0.0' in answer.text
        assert "# TYPE flower_events_total counter" in answer.text
        assert "s3cret" not in flower.log.read_text()


def test_it_is_read_only(shop: Shop) -> None:
    with shop.flower(METRONOME_FLOWER_PASSWORD="s3cret") as flower:
        for path in (
            "/api/task/async-apply/shop.tick",
            "/api/task/send-task/shop.tick",
            "/api/task/apply/shop.tick",
            "/api/task/revoke/some-id",
            "/api/worker/shutdown/celery@one",
            "/api/worker/pool/grow/celery@one",
        ):
            assert flower.ask(path, "metronome:s3cret", "POST").status == 403, path
            assert flower.ask(path, None, "POST").status in (401, 403), path


def test_it_listens_on_this_machine_only_unless_told(shop: Shop) -> None:
    with shop.flower() as flower:
        listening = re.search(r"Visit me at http://([^:]+):", flower.log.read_text())
        assert listening is not None
        assert listening.group(1) == "127.0.0.1"


def test_what_the_user_says_wins(shop: Shop) -> None:
    with shop.flower("--basic-auth=me:mine", FLOWER_MAX_TASKS="5") as flower:
        assert flower.ask("/", "me:mine").status == 200
        assert flower.ask("/metrics", "me:mine").status == 200
        assert not (shop.data_dir / "flower-password").exists()
    with shop.flower(FLOWER_READ_ONLY="false", FLOWER_BASIC_AUTH="a:b") as flower:
        path = "/api/task/send-task/shop.tick"
        assert flower.ask(path, "a:b", "POST").status == 200


def test_a_url_prefix_moves_everything(shop: Shop) -> None:
    with shop.flower(
        prefix="/ops/flower",
        FLOWER_URL_PREFIX="ops/flower",
        METRONOME_FLOWER_PASSWORD="s3cret",
    ) as flower:
        assert flower.ask("/metrics").status == 401
        answer = flower.ask("/metrics", "metronome:s3cret")
        assert answer.status == 200
        assert "metronome_build_info" in answer.text
        assert flower.ask("/api/tasks", "metronome:s3cret").status == 200


def test_it_survives_our_database(shop: Shop) -> None:
    nowhere = "postgresql://nobody@127.0.0.1:9/none"
    with shop.flower(
        METRONOME_DATABASE_URL=nowhere, METRONOME_FLOWER_PASSWORD="s3cret"
    ) as flower:
        answer = flower.ask("/metrics", "metronome:s3cret")
        assert answer.status == 200
        assert "metronome_database_up 0.0" in answer.text
        assert "flower_events_total" in answer.text
        assert "metronome_runs_total" not in answer.text
