"""A healthy system at work, and the restarts that it must take without an alarm."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from clockwork import HERE, Clockwork
from rabbit import Rabbit
from sqlalchemy import func, select, text

from flask_metronome.core.run import FINAL
from flask_metronome.models import attempts, incidents, leases, messages, runs
from flask_metronome.store import schedules as schedule_store

#: Restarting a broker on a busy machine takes a while: that long is on time here.
PATIENCE_SECONDS = 120.0
_FINAL = sorted(state.value for state in FINAL)
#: A pause leaves out what was due just before it.
GOOD = {"succeeded", "skipped"}
Process = subprocess.Popen[bytes]


@dataclass(kw_only=True)
class Healthy(Clockwork):
    """Two beats, two workers and two monitors on a broker of their own."""

    rabbit: Rabbit
    hook_url: str
    beats: list[Process] = field(default_factory=list)
    workers: list[Process] = field(default_factory=list)
    monitors: list[Process] = field(default_factory=list)

    @property
    def settings(self) -> dict[str, str]:
        return super().settings | {
            "METRONOME_LEASE_SECONDS": "10",
            "METRONOME_MONITOR_SECONDS": "1",
            "METRONOME_NOTIFY_DELAY_SECONDS": "1",
            "METRONOME_WEBHOOK_URLS": self.hook_url,
            "METRONOME_WEBHOOK_SECRET": "known to both",
        }

    def begin(self) -> None:
        """Start everything, and schedules of every kind of good work."""
        patient = {
            "grace_seconds": PATIENCE_SECONDS,
            "late_after_seconds": PATIENCE_SECONDS,
        }
        for key, task, seconds in (
            ("quick", "clock.default", 1),
            ("mail", "clock.mail", 2),
            ("flaky", "clock.flaky", 3),
            ("slow", "clock.slow", 5),
        ):
            self.add(key, task, seconds, **patient)
        for _ in range(2):
            self.workers.append(self.worker())
            self.beats.append(self.beat())
            self.monitors.append(self.monitor())
        self.until(self._is_watched, "a monitor to watch")
        self.until(lambda: len(self.lines()) > 3, "bodies to run")

    def monitor(self) -> Process:
        """Start a monitor."""
        log = self.folder / f"monitor-{len(self.processes)}.log"
        words = ("-m", "flask", "--app", "clockwork_app", "metronome", "monitor")
        with log.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, *words],
                cwd=HERE,
                env=self._environment(),
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    # -- what a healthy system is put through -------------------------------------

    def disturb(self, seconds: float) -> int:
        """Restart this and that, each at least once, for so long; how often."""
        give_up, done = time.monotonic() + seconds, 0
        turns = self._turns()
        while done < len(turns) or time.monotonic() < give_up:
            turns[done % len(turns)]()
            done += 1
        return done

    def _turns(self) -> list[Callable[[], None]]:
        return [
            lambda: self._restart(self.beats, signal.SIGTERM, self.beat),
            lambda: self._restart(self.monitors, signal.SIGKILL, self.monitor),
            lambda: self._restart(self.workers, signal.SIGTERM, self.worker),
            self._restart_broker,
            lambda: self._restart(self.beats, signal.SIGKILL, self.beat),
            lambda: self._restart(self.monitors, signal.SIGTERM, self.monitor),
            self._cut_sessions,
        ]

    def _restart(
        self, members: list[Process], number: int, start: Callable[[], Process]
    ) -> None:
        """The oldest of its kind ends, and another takes its place."""
        self.end(members.pop(0), number)
        members.append(start())

    def end(self, process: Process, number: int) -> None:
        """Send a signal and wait until the process is gone."""
        if number == signal.SIGKILL:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        process.wait(60)

    def _restart_broker(self) -> None:
        # a retry that its worker cannot publish is a failure, and a true alarm
        with self.database.begin() as connection:
            now = self.database.now(connection)
            schedule_store.pause(connection, "flaky", reason=None, who="t", now=now)
        self.until(lambda: not self._is_open("flaky"), "the retries to be over")
        self.rabbit.stop()
        self.rabbit.start()
        with self.database.begin() as connection:
            now = self.database.now(connection)
            schedule_store.resume(connection, "flaky", who="t", now=now)

    def _cut_sessions(self) -> None:
        """The database drops every connection, as in a failover."""
        cut = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        with self.database.begin() as connection:
            connection.execute(text(cut))

    # -- what is asked afterwards ---------------------------------------------------

    def judged(self) -> bool:
        """Whether a monitor has judged every run that has ended."""
        unjudged = (
            select(func.count())
            .select_from(runs)
            .where(runs.c.state.in_(_FINAL), runs.c.judged < 2)
        )
        with self.database.read() as connection:
            return connection.execute(unjudged).scalar_one() == 0

    def alarms(self) -> dict[str, int]:
        """Everything that should be 0 while all is well, and is not."""
        counted = {
            "missed": select(func.count()).select_from(runs).where(runs.c.missed),
            "late": select(func.count()).select_from(runs).where(runs.c.late),
            "stuck": select(func.count()).select_from(runs).where(runs.c.stuck),
            "bad": select(func.count())
            .select_from(runs)
            .where(runs.c.state.in_(("failed", "timed_out", "lost", "expired"))),
            "lost": select(func.count())
            .select_from(attempts)
            .where(attempts.c.state == "lost"),
            "incidents": select(func.count()).select_from(incidents),
            "notices": select(func.count())
            .select_from(messages)
            .where(messages.c.kind == "notice"),
        }
        with self.database.read() as connection:
            found = {
                name: int(connection.execute(statement).scalar_one())
                for name, statement in counted.items()
            }
        return {name: number for name, number in found.items() if number}

    def what_went_wrong(self) -> str:
        """The runs and incidents that an alarm is about, and the last of the logs."""
        said = [
            f"{run.schedule_key} due {run.due_at}: {run.state} {run.reason} {run.error}"
            for run in self.runs()
            if run.state not in GOOD or run.missed or run.late or run.stuck
        ]
        with self.database.read() as connection:
            said += [str(row) for row in connection.execute(select(incidents))]
        return "\n".join([*said, self.last_words()])

    def _is_open(self, key: str) -> bool:
        open_one = select(runs.c.id).where(
            runs.c.schedule_key == key, runs.c.state.not_in(_FINAL)
        )
        with self.database.read() as connection:
            return connection.execute(open_one).first() is not None

    def _is_watched(self) -> bool:
        with self.database.read() as connection:
            return connection.execute(select(leases.c.name)).first() is not None
