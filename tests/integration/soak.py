"""Workers, a beat and a monitor under fire: work for them, and who kills them."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from soak_account import Account, Fault, read_account, wrong_sums
from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError
from supervised import descendants, is_alive
from worker_site import HERE, Site

from flask_metronome import Definition, every
from flask_metronome.core.run import OPEN
from flask_metronome.errors import DatabaseUnreachable
from flask_metronome.models import attempts, runs, workers
from flask_metronome.store import schedules as schedule_store

LEASE_SECONDS = 3.0
_MOST_OPEN = 60
#: How long nothing at all may get better.
_PATIENCE_SECONDS = 150.0
#: Each worker's name and options.
WORKERS = {
    "forked": ("-P", "prefork", "-c", "3"),
    "recycled": ("-P", "prefork", "-c", "2", "--max-tasks-per-child", "20"),
    "threaded": ("-P", "threads", "-c", "3"),
}
#: Task, how its body ends, most seconds, more; by weight.
WORK: dict[tuple[str, str, float, int], int] = {
    ("soak.late", "return", 0.0, 0): 12,
    ("soak.late", "return", 2.0, 0): 12,
    ("soak.early", "return", 1.0, 0): 8,
    ("soak.quiet", "return", 0.5, 0): 5,
    ("soak.late", "raise", 0.3, 0): 8,
    ("soak.early", "raise", 0.3, 0): 3,
    ("soak.quiet", "raise", 0.1, 0): 2,
    ("soak.late", "retry", 0.3, 1): 8,
    ("soak.early", "retry", 0.1, 2): 4,
    ("soak.late", "ignore", 0.1, 0): 3,
    ("soak.late", "reject", 0.1, 0): 3,
    ("soak.limited", "return", 3.0, 0): 4,
    ("soak.limited", "hard", 0.1, 0): 2,
    ("soak.late", "big", 0.1, 300_000): 3,
    ("soak.late", "children", 0.1, 0): 3,
    ("soak.late", "memory", 0.1, 0): 2,
    ("soak.late", "oom", 0.2, 0): 2,
    ("soak.early", "oom", 0.2, 0): 1,
    ("soak.late", "exit", 0.1, 0): 2,
}
#: What is done to workers and their children, by weight.
FAULTS = {
    "kill_child": 12,
    "stop_child": 6,
    "kill_worker": 2,
    "kill_group": 1,
    "stop_worker": 4,
    "stop_group": 4,
    "quit_worker": 2,
    "end_worker": 1,
}


@dataclass(kw_only=True)
class Soak:
    """One drill: a site, its seeded misfortunes, and their record.

    :param freeze: stops and continues the database, and says whether it did; none
        where it cannot be.
    """

    site: Site
    seed: int
    freeze: Callable[[bool], bool] | None = None
    faults: list[Fault] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.workers: dict[str, subprocess.Popen[bytes]] = {}
        self._spawned = 0
        self._logs: dict[str, Path] = {}
        self._feeding = threading.Event()
        self._until: dict[int, float] = {}
        self.site.side.touch()

    # -- processes ----------------------------------------------------------------

    def start(self) -> None:
        """A beat, a monitor, every worker and a schedule; returns when all live."""
        self._spawn("flask", "--app", "soak_app:app", "metronome", "monitor")
        self._spawn("celery", "-A", "soak_app", "beat", "-S", "metronome")
        for name in WORKERS:
            self.start_worker(name)
        give_up = time.monotonic() + _PATIENCE_SECONDS
        while self._living() < len(WORKERS):
            assert time.monotonic() < give_up, self.site.last_words()
            self._pause(0.5)
        pulse = Definition(
            key="pulse", task="soak.late", cadence=every(1, "seconds"),
            args=["return", 1.3], overlap="skip", on_lost="rerun", lane="default",
        )  # fmt: skip
        with self.site.database.begin() as c:
            schedule_store.add(
                c, pulse, owner="api", who="test", now=self.site.database.now(c)
            )

    def start_worker(self, name: str) -> None:
        options = ["-n", f"{name}@soak", *WORKERS[name], "-l", "INFO"]
        options += ["--without-mingle", "--without-gossip"]
        soft = str(self.random.choice((0, 0, 1)))
        self.workers[name] = self._spawn(
            "celery", "-A", "soak_app", "worker", *options,
            METRONOME_TEST_SOFT_SHUTDOWN=soft,
        )  # fmt: skip
        self._logs[name] = self._last_log

    def _spawn(self, *words: str, **more: str) -> subprocess.Popen[bytes]:
        self._spawned += 1
        path = self.site.folder / f"{self._spawned:03d}-{'-'.join(words[3:6])}.log"
        self._last_log = path
        with path.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *words],
                cwd=HERE,
                env={**os.environ, **self.site.environment, "C_FORCE_ROOT": "1"} | more,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.site.processes.append(process)
        return process

    def _is_ready(self, name: str) -> bool:
        """Whether it consumes: what is killed while it starts does nothing yet."""
        return b" ready." in self._logs[name].read_bytes()

    def _living(self) -> int:
        with self.site.database.read() as c:
            since = self.site.database.now(c) - timedelta(seconds=3 * LEASE_SECONDS)
            alive = workers.c.stopped_at.is_(None), workers.c.heartbeat_at > since
            return int(c.execute(select(func.count()).where(*alive)).scalar_one())

    # -- work ---------------------------------------------------------------------

    def feed(self, pause_seconds: float) -> threading.Thread:
        """Plan a run every so often, for a beat to publish, until told to stop."""
        dice = random.Random(self.seed + 1)

        def work() -> None:
            while not self._feeding.wait(pause_seconds):
                with contextlib.suppress(DBAPIError, DatabaseUnreachable):
                    # a backlog would only say how slow the machine is
                    if len(self._left()) < _MOST_OPEN:
                        self.plan(dice)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        return thread

    def plan(self, dice: random.Random) -> str:
        """One run of a kind that the dice choose; its id."""
        [(task, how, seconds, more)] = dice.choices(list(WORK), list(WORK.values()))
        return self.site.add_run(
            task,
            state="planned",
            args=[how, round(dice.uniform(0, seconds), 2), more],
            on_lost=dice.choice(("fail", "rerun")),
            publish_after=datetime.now(UTC),
        )

    # -- faults -------------------------------------------------------------------

    def torment(self, seconds: float, pause_seconds: float, least: int) -> None:
        """One fault after the other for so long; restart what died of them.

        :param least: so many there must be, however slow the machine is.
        """
        give_up = time.monotonic() + seconds
        frozen_at = time.monotonic() + min(seconds / 3, 20)
        while time.monotonic() < give_up or sum(self.counts.values()) < least:
            assert time.monotonic() < give_up + _PATIENCE_SECONDS, self.counts
            self._pause(self.random.uniform(0.2, 2 * pause_seconds))
            if self.freeze is not None and time.monotonic() > frozen_at:
                frozen_at = time.monotonic() + 45
                self._freeze_database(self.random.uniform(1, 4))
                continue
            [kind] = self.random.choices(list(FAULTS), list(FAULTS.values()))
            self._fault(kind, self.random.choice(list(WORKERS)))

    def _pause(self, seconds: float) -> None:
        give_up = time.monotonic() + seconds
        while time.monotonic() < give_up:
            self._tend()
            time.sleep(0.1)

    def _tend(self) -> None:
        """Continue what was stopped for long enough, restart what is dead."""
        for pid, moment in list(self._until.items()):
            if moment <= time.monotonic():
                self._send(pid, signal.SIGCONT)
                del self._until[pid]
        for name, process in list(self.workers.items()):
            if process.poll() is not None:
                self.start_worker(name)

    def _fault(self, kind: str, name: str) -> None:
        process = self.workers[name]
        if not self._is_ready(name):
            return
        everyone = [process.pid, *descendants(process.pid)]
        children = [pid for pid in everyone[1:] if is_alive(pid)] or [process.pid]
        what, _, who = kind.partition("_")
        victims = {
            "child": [self.random.choice(children)],
            "worker": [process.pid],
            "group": everyone,
        }[who]
        if not all(is_alive(pid) for pid in victims):
            return
        self.counts[kind] = self.counts.get(kind, 0) + 1
        if what == "stop":
            self._stop(victims)
            return
        number = {"kill": signal.SIGKILL, "quit": signal.SIGQUIT, "end": signal.SIGTERM}
        for pid in victims:
            self._send(pid, number[what])
        # what a shutdown cuts off is killed by it
        gone = everyone if what == "quit" or victims[0] == process.pid else victims
        self._record("kill" if what != "end" else "end", gone, 30.0)

    def _stop(self, victims: list[int]) -> None:
        # three times in four within the lease
        seconds = self.random.choice((2, 5, 8, 4 * LEASE_SECONDS))
        for pid in victims:
            self._send(pid, signal.SIGSTOP)
            self._until[pid] = time.monotonic() + seconds
        self._record("stop", victims, seconds)

    def _freeze_database(self, seconds: float) -> None:
        assert self.freeze is not None
        if not self.freeze(True):
            return
        self.counts["freeze_database"] = self.counts.get("freeze_database", 0) + 1
        self._record("database", [], seconds)
        try:
            self._pause(seconds)
        finally:
            self.freeze(False)

    def _record(self, kind: str, pids: list[int], seconds: float) -> None:
        now = time.monotonic()
        gone = frozenset(pids)
        self.faults.append(Fault(kind=kind, pids=gone, began=now, ended=now + seconds))

    @staticmethod
    def _send(pid: int, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)

    # -- the end ------------------------------------------------------------------

    def settle(self) -> None:
        """Heal everything and wait until every run has ended and is counted."""
        self._feeding.set()
        with self.site.database.begin() as c:
            now = self.site.database.now(c)
            schedule_store.pause(c, "pulse", reason=None, who="test", now=now)
        self._until = dict.fromkeys(self._until, 0.0)
        fewest, since = 1_000_000, time.monotonic()
        while left := self._left():
            self._tend()
            if len(left) < fewest:
                fewest, since = len(left), time.monotonic()
            waited = time.monotonic() - since
            assert waited < _PATIENCE_SECONDS, f"never ended: {left[:20]}"
            time.sleep(0.3)

    def _left(self) -> list[Any]:
        """Runs that are open, or not yet taken into the sums."""
        undone = runs.c.state.in_(OPEN) | ~runs.c.counted
        uncounted = select(attempts.c.task_id, attempts.c.state, attempts.c.fence)
        with self.site.database.read() as c:
            query = select(runs.c.id, runs.c.state, runs.c.task, runs.c.args)
            return [
                *c.execute(query.where(undone)).all(),
                *c.execute(uncounted.where(~attempts.c.counted)).all(),
            ]

    def account(self) -> Account:
        """The verdict, with what the sums say beside the rows."""
        with self.site.database.read() as c:
            found = read_account(c, self.site.side, self.faults, LEASE_SECONDS)
            found.findings += wrong_sums(c)
        return found

    def close(self) -> None:
        """Leave nothing behind."""
        self._feeding.set()
        for pid in self._until:
            self._send(pid, signal.SIGCONT)
        for process in self.site.processes:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
        self.site.stop()
