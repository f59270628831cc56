"""Beats and workers as real processes, and what SQL and the bodies say of them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from flask import Flask
from sqlalchemy import func, select

from flask_metronome import Definition, Metronome, every, schema
from flask_metronome.database import Database
from flask_metronome.models import beats, runs, schedules, workers
from flask_metronome.store import schedules as schedule_store

HERE = Path(__file__).parent
DEADLINE_SECONDS = 120.0


@dataclass(kw_only=True)
class Clockwork:
    """One app's broker, database and processes, for one test."""

    broker_url: str
    database_url: str
    folder: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        # a test's own edits wait their turn: a beat may be paused on its rows
        self.database = Database(self.database_url, lock_seconds=30, timeout_seconds=40)
        schema.init_db(self.database)

    @property
    def side(self) -> Path:
        """What the bodies wrote themselves."""
        return self.folder / "side"

    @property
    def settings(self) -> dict[str, str]:
        return {
            "METRONOME_BROKER_URL": self.broker_url,
            "METRONOME_DATABASE_URL": self.database_url,
            "METRONOME_DATA_DIR": str(self.folder / "data"),
            "METRONOME_CONFIRM_TIMEOUT_SECONDS": "2",
        }

    # -- processes ----------------------------------------------------------------

    def beat(self, **more: str) -> subprocess.Popen[bytes]:
        """Start a beat and wait until it has registered."""
        before = self._count(beats)
        process = self._start("beat", "beat", "-S", "metronome", "-l", "INFO", **more)
        self.until(lambda: self._count(beats) > before, "the beat to register")
        return process

    def worker(self, *lanes: str, pool: str = "threads") -> subprocess.Popen[bytes]:
        """Start a worker of these lanes (all, if none) and wait until it is ready."""
        name = f"w{uuid.uuid4().hex[:6]}@{'-'.join(lanes) or 'all'}"
        words = ["worker", "-n", name, "-P", pool, "-c", "2", "-l", "INFO"]
        words += ["--without-mingle", "--without-gossip"]
        if lanes:
            words += ["-Q", ",".join(lanes)]
        process = self._start("worker", *words)
        self.until(lambda: self._has_worker(name), f"worker {name} to be ready")
        return process

    def celery(self, *words: str) -> subprocess.CompletedProcess[str]:
        """One of Celery's own commands against this app."""
        return subprocess.run(
            [sys.executable, "-m", "celery", "-A", "clockwork_app", *words],
            cwd=HERE,
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=60,
        )

    def stop(self) -> None:
        """End every process started here."""
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
                process.terminate()
        for process in self.processes:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        self.database.dispose()

    def _environment(self, **more: str) -> dict[str, str]:
        side = {"METRONOME_TEST_SIDE": str(self.side)}
        return {**os.environ, **self.settings, **side, "C_FORCE_ROOT": "1", **more}

    def _start(self, kind: str, *words: str, **more: str) -> subprocess.Popen[bytes]:
        name = f"{kind}-{len(self.processes)}.log"
        with (self.folder / name).open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "celery", "-A", "clockwork_app", *words],
                cwd=HERE,
                env=self._environment(**more),
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    # -- schedules and runs ---------------------------------------------------------

    def add(self, key: str, task: str, seconds: float = 1, **fields: Any) -> str:
        """Add a schedule ``every`` so many seconds; its id."""
        fields.setdefault("overlap", "allow")
        # processes may start slowly here; what is missed is for tests that ask for it
        fields.setdefault("grace_seconds", 300)
        definition = Definition(
            key=key, task=task, cadence=every(seconds, "seconds"), **fields
        )
        with self.database.begin() as connection:
            return schedule_store.add(
                connection,
                definition,
                owner="api",
                who="test",
                now=self.database.now(connection),
            ).id

    def pause_all(self) -> datetime:
        """Pause every schedule; since when."""
        with self.database.begin() as connection:
            now = self.database.now(connection)
            keys = connection.execute(
                select(schedules.c.key).where(schedules.c.state == "active")
            )
            for key in keys.scalars().all():
                schedule_store.pause(connection, key, reason=None, who="t", now=now)
        return now

    def runs(self, key: str | None = None) -> list[Any]:
        """All runs, of one schedule if named, by due time."""
        statement = select(runs).order_by(runs.c.due_at)
        if key is not None:
            statement = statement.where(runs.c.schedule_key == key)
        with self.database.read() as connection:
            return list(connection.execute(statement))

    def bodies(self) -> Counter[str]:
        """How often the body of each run really ran."""
        return Counter(words[0] for words in self.lines())

    def lines(self) -> list[list[str]]:
        """Run, lane and worker of each body that ran."""
        if not self.side.exists():
            return []
        return [line.split() for line in self.side.read_text().splitlines()]

    def settle(self) -> list[Any]:
        """Pause every schedule, wait until all runs have ended; the runs."""
        self.pause_all()
        self.until(lambda: self._open() == 0, "the open runs to end")
        return self.runs()

    def until(self, true: Callable[[], bool], what: str) -> None:
        """Wait for something; fail with the processes' last words."""
        give_up = time.monotonic() + DEADLINE_SECONDS
        while not true():
            if time.monotonic() > give_up:
                raise AssertionError(f"waited in vain for {what}\n{self.last_words()}")
            time.sleep(0.05)

    def last_words(self) -> str:
        """The ends of all logs."""
        logs = sorted(self.folder.glob("*.log"))
        return "\n".join(f"== {log.name}\n{log.read_text()[-2500:]}" for log in logs)

    def client(self) -> Any:
        """A Celery app of this process on the same broker and database."""
        app = Flask("client")
        app.config.update(self.settings)
        return Metronome(app).celery

    def _open(self) -> int:
        states = ("waiting", "planned", "published", "received", "started", "retrying")
        statement = select(func.count()).where(runs.c.state.in_(states))
        with self.database.read() as connection:
            return int(connection.execute(statement).scalar_one())

    def _count(self, table: Any) -> int:
        with self.database.read() as connection:
            return int(
                connection.execute(select(func.count()).select_from(table)).scalar_one()
            )

    def _has_worker(self, name: str) -> bool:
        statement = select(func.count()).where(workers.c.hostname == name)
        with self.database.read() as connection:
            return bool(connection.execute(statement).scalar_one())


def gaps(found: list[Any], seconds: float) -> list[datetime]:
    """Due times missing between the first and the last of a schedule's runs."""
    step = timedelta(seconds=seconds)
    there = {run.due_at for run in found}
    moment, last, missing = min(there), max(there), []
    while moment < last:
        if moment not in there:
            missing.append(moment)
        moment += step
    return missing
