"""A worker of plain Celery, and what its backend and its events say."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from celery.events.state import State

HERE = Path(__file__).parent


class PlainSite:
    """Workers of ``plain_app``, its database, and a listener to its events."""

    def __init__(self, broker_url: str, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            "PLAIN_BROKER_URL": broker_url,
            "PLAIN_DATABASE_URL": f"sqlite:///{folder / 'plain.sqlite'}",
            "PLAIN_SIDE": str(folder / "side"),
        }
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.environment.items():
                patch.setenv(name, value)
            sys.modules.pop("plain_app", None)
            self.celery = importlib.import_module("plain_app").celery
        self.seen = State()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()
        self.processes: list[subprocess.Popen[bytes]] = []

    def start_worker(self) -> subprocess.Popen[bytes]:
        name = f"plain{uuid.uuid4().hex[:6]}@host"
        with (self.folder / "plain.log").open("ab") as log:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "celery", "-A", "plain_app", "worker"),
                    *("-n", name, "-c", "3", "--without-mingle", "--without-gossip"),
                ],
                cwd=HERE,
                env={**os.environ, **self.environment},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.processes.append(process)
        self.until(lambda: name in self.seen.workers, "the worker")
        return process

    def send(self, task: str, **options: Any) -> str:
        return str(self.celery.send_task(task, **options).id)

    def bodies(self, task_id: str) -> int:
        side = self.folder / "side"
        return side.read_text().count(task_id) if side.exists() else 0

    def shown(self, task_id: str) -> tuple[str, str | None]:
        """What the result backend says, and what the events say (so Flower)."""
        event = self.seen.tasks.get(task_id)
        state = self.celery.AsyncResult(task_id).state
        return state, None if event is None else event.state

    def until(self, true: Callable[[], bool], what: str) -> None:
        give_up = time.monotonic() + 40
        while not true():
            if time.monotonic() > give_up:
                log = (self.folder / "plain.log").read_text()[-3000:]
                raise AssertionError(f"waited in vain for {what}\n{log}")
            time.sleep(0.1)

    def close(self) -> None:
        self._over.set()
        self._thread.join(5)
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self.celery.close()

    def _listen(self) -> None:
        with self.celery.connection_for_read() as connection:
            receiver = self.celery.events.Receiver(
                connection, handlers={"*": self.seen.event}
            )
            while not self._over.is_set():
                with contextlib.suppress(TimeoutError, OSError):
                    receiver.capture(limit=None, timeout=1, wakeup=True)


@contextmanager
def plain_site(broker_url: str, folder: Path) -> Iterator[PlainSite]:
    made = PlainSite(broker_url, folder)
    try:
        yield made
    finally:
        made.close()
