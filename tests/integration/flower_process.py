"""Flower as a process, for a shop in a folder of its own."""

from __future__ import annotations

import base64
import contextlib
import os
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
        self, *options: str, prefix: str = "", port: int = 0, **environ: str
    ) -> Iterator[FlowerProcess]:
        """Flower by the plain command, ready to answer; ended at the end."""
        port = port or free_port()
        log = self.folder / "flower.log"
        with log.open("w") as out:
            process = subprocess.Popen(
                python("celery", "-A", MODULE, "flower", f"--port={port}", *options),
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


def python(module: str, *words: str) -> list[str]:
    return [sys.executable, "-m", module, *words]


def free_port() -> int:
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


@contextlib.contextmanager
def embedded_broker(folder: Path) -> Iterator[str]:
    """The embedded broker as a process; its URL."""
    port, management = free_port(), free_port()
    log = folder / "broker.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            python(
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


def prepared_shop(folder: Path, broker: str) -> Shop:
    """A shop with its tables and its one schedule."""
    (folder / f"{MODULE}.py").write_text(APP)
    found = Shop(folder=folder, environ={"METRONOME_BROKER_URL": broker})
    for command in ("init-db", "sync"):
        done = subprocess.run(
            python("flask", "--app", MODULE, "metronome", command),
            cwd=folder,
            env=found.env(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    return found
