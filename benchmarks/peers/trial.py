"""One kind of beat on a fresh vhost and database, with what it published."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers.arrivals import Arrivals
from benchmarks.peers.parts import Parts

FOLDER = Path(__file__).parent
_START_SECONDS = 90.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of beat.

    :param scheduler: what ``celery beat -S`` is given.
    :param module: what it must have installed.
    :param needs_redis: whether it keeps its schedules there.
    """

    name: str
    scheduler: str
    module: str
    needs_redis: bool = False

    @property
    def is_ours(self) -> bool:
        return self.name == "Flask-Metronome"


OURS = Kind(name="Flask-Metronome", scheduler="metronome", module="flask_metronome")
KINDS = (
    OURS,
    Kind(
        name="Celery's own",
        scheduler="celery.beat:PersistentScheduler",
        module="celery",
    ),
    Kind(
        name="django-celery-beat",
        scheduler="django_celery_beat.schedulers:DatabaseScheduler",
        module="django_celery_beat",
    ),
    Kind(
        name="sqlalchemy-celery-beat",
        scheduler="sqlalchemy_celery_beat.schedulers:DatabaseScheduler",
        module="sqlalchemy_celery_beat",
    ),
    Kind(
        name="RedBeat",
        scheduler="redbeat.RedBeatScheduler",
        module="redbeat",
        needs_redis=True,
    ),
)


def available(parts: Parts) -> list[Kind]:
    """The kinds that are installed here."""
    return [
        kind
        for kind in KINDS
        if importlib.util.find_spec(kind.module) is not None
        and (parts.redis_url is not None or not kind.needs_redis)
    ]


class Trial:
    """Beats of one kind, and the arrivals."""

    def __init__(self, kind: Kind, parts: Parts, schedules: int, folder: Path) -> None:
        self._kind, self._folder = kind, folder
        self._beats: list[subprocess.Popen[bytes]] = []
        vhost = f"peer-{secrets.token_hex(4)}"
        parts.broker.control("add_vhost", vhost)
        parts.broker.control("set_permissions", "-p", vhost, "metronome", *[".*"] * 3)
        self.broker_url = parts.broker.url.rpartition("//")[0] + f"/{vhost}"
        self._environment = {
            **os.environ,
            "PYTHONPATH": str(FOLDER),
            "PEER": kind.name,
            "PEER_SCHEDULES": str(schedules),
            **self._addresses(parts),
        }
        self.schedules = schedules

    def _addresses(self, parts: Parts) -> dict[str, str]:
        database = parts.database().replace("postgresql://", "postgresql+psycopg://", 1)
        if self._kind.is_ours:
            return {
                "METRONOME_BROKER_URL": self.broker_url,
                "METRONOME_DATABASE_URL": database,
                "METRONOME_DATA_DIR": str(self._folder),
            }
        number = secrets.randbelow(15) + 1
        redis = (parts.redis_url or "").replace("/0", f"/{number}")
        return {
            "PEER_BROKER_URL": self.broker_url,
            "PEER_DATABASE_URL": database,
            "PEER_REDIS_URL": redis,
        }

    def start_beat(self) -> subprocess.Popen[bytes]:
        """Start a beat process; it is not waited for."""
        number = len(self._beats)
        module = "our_app" if self._kind.is_ours else "beat_app"
        command = [
            *(sys.executable, "-m", "celery", "-A", f"{module}:app", "beat"),
            *("-S", self._kind.scheduler, "-l", "WARNING"),
            *("--pidfile", "", "-s", str(self._folder / f"schedule-{number}")),
        ]
        if self._kind.is_ours and number == 0:
            self._init_db()
        with (self._folder / "beat.log").open("ab") as log:
            process = subprocess.Popen(
                command,
                cwd=FOLDER,
                env=self._environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._beats.append(process)
        return process

    def _init_db(self) -> None:
        subprocess.run(
            [sys.executable, "-m", "flask", "--app", "our_app", "metronome", "init-db"],
            cwd=FOLDER,
            env=self._environment,
            check=True,
            stdout=subprocess.DEVNULL,
        )

    @contextlib.contextmanager
    def arrivals(self) -> Iterator[Arrivals]:
        """What is published, until the beats are stopped."""
        queue = "metronome.default" if self._kind.is_ours else "celery"
        try:
            with Arrivals(self.broker_url, queue) as found:
                yield found
        finally:
            for beat in self._beats:
                beat.kill()
                beat.wait()

    def wait_until_steady(self, found: Arrivals) -> None:
        """Every schedule has come twice.

        :raises RuntimeError: when they do not.
        """
        give_up = time.monotonic() + _START_SECONDS
        while found.count() < 2 * self.schedules:
            if time.monotonic() > give_up:
                log = (self._folder / "beat.log").read_text()[-1500:]
                raise RuntimeError(f"{self._kind.name} published too little:\n{log}")
            time.sleep(0.1)
