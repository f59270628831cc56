"""A worker with its vhost and database, and the runs that a test gives it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from celery import Celery
from celery.result import AsyncResult
from flask import Flask
from sqlalchemy import func, insert, select

from flask_metronome import Metronome
from flask_metronome.database import Database
from flask_metronome.models import attempts, results, runs, schedules, workers
from flask_metronome.schema import init_db

HERE = Path(__file__).parent
_DEADLINE = 120.0


@dataclass(kw_only=True)
class Site:
    """One app's surroundings, and the processes that this test started."""

    broker_url: str
    database: Database
    folder: Path
    database_url: str
    #: More of ``METRONOME_*``, for workers and for the client.
    settings: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        init_db(self.database)
        self.processes: list[subprocess.Popen[bytes]] = []
        self.celery = _client(self.environment)
        with self.database.begin() as c:
            now = self.database.now(c)
            c.execute(
                insert(schedules).values(
                    id="s",
                    key="s",
                    task="t.succeed",
                    cadence={"kind": "every", "every": 1, "unit": "hours"},
                    lane="default",
                    created_at=now,
                    updated_at=now,
                )
            )

    def reconnect(self) -> None:
        """Take a changed broker URL into the client."""
        self.celery = _client(self.environment)

    @property
    def side(self) -> Path:
        """What the bodies wrote themselves."""
        return self.folder / "side"

    @property
    def environment(self) -> dict[str, str]:
        return {
            "METRONOME_BROKER_URL": self.broker_url,
            "METRONOME_DATABASE_URL": self.database_url,
            "METRONOME_DATA_DIR": str(self.folder / "data"),
            "METRONOME_LEASE_SECONDS": "1",
            "METRONOME_CLAIM_WAIT_SECONDS": "3",
            "METRONOME_TEST_SIDE": str(self.side),
            **self.settings,
        }

    def start_worker(self, *options: str, **more: str) -> subprocess.Popen[bytes]:
        """Start a worker and wait until it has said that it lives."""
        name = f"w{uuid.uuid4().hex[:6]}"
        command = [
            *(sys.executable, "-m", "celery", "-A", "worker_app:celery", "worker"),
            *("-n", f"{name}@host", "-l", "INFO", "--without-mingle"),
            *("--without-gossip", *(options or ("-c", "2"))),
        ]
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                command,
                cwd=HERE,
                env={**os.environ, **self.environment, **more},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.processes.append(process)
        self.until(lambda: self._said(f"{name}@host"), f"{name} to be ready")
        return process

    def stop(self) -> None:
        """End every process that was started here."""
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        self.database.dispose()

    # -- runs ---------------------------------------------------------------------

    def add_run(self, task: str, **values: Any) -> str:
        """Plan a run that is due now; its id."""
        run_id = str(uuid.uuid4())
        with self.database.begin() as c:
            now = self.database.now(c)
            due = now + timedelta(microseconds=int(time.monotonic_ns() % 1_000_000))
            row: dict[str, Any] = {
                "id": run_id,
                "schedule_id": "s",
                "schedule_key": "s",
                "origin": f"manual:{run_id}",
                "due_at": due,
                "fires_at": now,
                "state": "published",
                "task": task,
                "lane": "default",
                "args": [],
                "kwargs": {},
                "options": {},
                "revision": 1,
                "grace_until": now + timedelta(seconds=60),
                "late_after_seconds": 600.0,
                "concurrency_key": run_id,
                "updated_at": now,
            }
            c.execute(insert(runs).values({**row, **values}))
        return run_id

    def publish(
        self, run_id: str, task: str, *args: Any, **options: Any
    ) -> AsyncResult:
        """Send a run's message, as a beat does."""
        headers = {
            "metronome_run": run_id,
            "metronome_schedule": "s",
            **options.pop("headers", {}),
        }
        # before 5.7 a plain send says that the result is not to be ignored
        options = {"ignore_result": None, **options}
        return self.celery.send_task(
            task, args, task_id=run_id, headers=headers, **options
        )

    def send(self, task: str, *args: Any, **run_values: Any) -> str:
        """Plan a run and send its message; its id."""
        run_id = self.add_run(task, **run_values)
        self.publish(run_id, task, *args)
        return run_id

    def ended(self, run_id: str) -> Any:
        """The run, once it is over."""
        over = ("succeeded", "failed", "timed_out", "lost", "expired", "cancelled")
        self.until(
            lambda: self.run(run_id).state in (*over, "skipped"),
            f"{run_id} to end",
        )
        return self.run(run_id)

    def reaches(self, run_id: str, state: str) -> Any:
        """The run, once it is in that state; once «started», its body has begun."""

        def reached() -> bool:
            run = self.run(run_id)
            if run.state != state:
                return False
            # its claim comes first: a test that kills now means to hit the body
            return state != "started" or len(self.bodies(run_id)) >= run.attempts

        self.until(reached, f"{run_id} {state}")
        return self.run(run_id)

    def run(self, run_id: str) -> Any:
        with self.database.read() as c:
            return c.execute(select(runs).where(runs.c.id == run_id)).one()

    def attempts(self, run_id: str) -> list[Any]:
        with self.database.read() as c:
            mine = select(attempts).where(attempts.c.task_id == run_id)
            return list(c.execute(mine.order_by(attempts.c.fence)))

    def result(self, task_id: str) -> AsyncResult:
        return self.celery.AsyncResult(task_id)

    def stored(self, task_id: str) -> Any:
        """The result's row."""
        with self.database.read() as c:
            return c.execute(
                select(results).where(results.c.task_id == task_id)
            ).one_or_none()

    def bodies(self, run_id: str) -> list[tuple[int, int]]:
        """Retries and process id of each body that ran, in order."""
        lines = self.side.read_text().splitlines() if self.side.exists() else []
        words = [line.split() for line in lines]
        return [(int(w[1]), int(w[2])) for w in words if w[0] == run_id]

    def until(self, true: Callable[[], bool], what: str) -> None:
        """Wait for something; fail with the worker's last words."""
        give_up = time.monotonic() + _DEADLINE
        while not true():
            if time.monotonic() > give_up:
                raise AssertionError(f"waited in vain for {what}\n{self.last_words()}")
            time.sleep(0.05)

    def last_words(self) -> str:
        """The ends of the workers' logs."""
        logs = sorted(self.folder.glob("*.log"))
        return "\n".join(log.read_text()[-3000:] for log in logs)

    def set_flag(self, name: str) -> None:
        """Let the bodies go on that wait for it."""
        self.side.with_name(name).touch()

    def _said(self, hostname: str) -> bool:
        with self.database.read() as c:
            row = select(func.count()).where(workers.c.hostname == hostname)
            return bool(c.execute(row).scalar())


def _client(environment: dict[str, str]) -> Celery:
    """A Celery app of this process on the same broker and database."""
    app = Flask("client")
    skipped = ("METRONOME_TEST_",)
    app.config.update(
        {k: v for k, v in environment.items() if not k.startswith(skipped)}
    )
    celery: Celery = Metronome(app).celery
    return celery
