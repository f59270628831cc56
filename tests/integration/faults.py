"""Faults, injected and counted, and the one checker that all fault tests share."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from urllib.error import URLError
from urllib.parse import quote, unquote

from clockwork import HERE, Clockwork
from rabbit import Rabbit
from sqlalchemy import select

from flask_metronome.core.run import AUTO, RunState, SkippedReason, run_id
from flask_metronome.models import runs, schedules
from flask_metronome.store.schedule_rows import load
from metronome_broker import Topology, lanes_named

#: Named points of a beat, in the order in which it comes by.
POINTS = (
    "after_select",
    "before_commit",
    "after_commit",
    "after_publish",
    "before_recording",
)
#: Lines of the beats' log that are faults; the others tell what came of them.
INJECTED = ("kill", "stop", "database", "wire")
DEFAULT_QUEUE = "metronome.default"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the checker found; each number is of runs."""

    faults: Counter[str] = field(default_factory=Counter)
    expected: int
    lost: frozenset[str]
    unexpected: frozenset[str]
    started_twice: int
    doubled_on_the_wire: int

    def __str__(self) -> str:
        kinds = ", ".join(f"{n} {kind}" for kind, n in sorted(self.faults.items()))
        return (
            f"{sum(self.faults.values())} faults ({kinds}); {self.expected} due, "
            f"{len(self.lost)} lost, {len(self.unexpected)} unexpected, "
            f"{self.started_twice} started twice, "
            f"{self.doubled_on_the_wire} doubled on the wire"
        )


def judge(
    expected: set[str],
    started: Counter[str],
    *,
    duplicates: int,
    faults: Counter[str],
) -> Verdict:
    """Compare what the cadence says with what was delivered and started.

    :param started: how often the body of each run ran, by the bodies' own word.
    :param duplicates: deliveries that the claim refused.
    """
    return Verdict(
        faults=faults,
        expected=len(expected),
        lost=frozenset(expected - started.keys()),
        unexpected=frozenset(started.keys() - expected),
        started_twice=sum(times > 1 for times in started.values()),
        doubled_on_the_wire=duplicates + sum(n - 1 for n in started.values()),
    )


@dataclass(kw_only=True)
class Faulty:
    """Faulty beats on a clockwork; one worker records what is delivered."""

    clockwork: Clockwork
    config: dict[str, Any]
    broker_faults: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._since: dict[str, datetime] = {}
        self._log = self.clockwork.folder / "faults"
        self._log.touch()

    def add_schedules(self, count: int) -> None:
        """Schedules of a second, spread over it, from now on."""
        for number in range(count):
            key = f"k{number}"
            anchor = datetime.fromisoformat("2026-01-01T00:00:00+00:00")
            anchor += timedelta(milliseconds=125 * (number % 8))
            self.clockwork.add(key, "clock.default", start_at=anchor)

    def start(self) -> subprocess.Popen[bytes]:
        """Start the beats; they fail from then on."""
        config = {"seed": 1, "beats": 4, "log": str(self._log), **self.config}
        with (self.clockwork.folder / "faulty.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, str(HERE / "faulty_beats.py")],
                cwd=HERE,
                env=self.clockwork._environment(
                    METRONOME_TEST_FAULTS=json.dumps(config),
                    METRONOME_PUBLISH_LEASE_SECONDS="4",
                ),
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.clockwork.processes.append(process)
        return process

    def log(self) -> list[list[str]]:
        """Kind, point, process and monotonic second of each line."""
        return [line.split() for line in self._log.read_text().splitlines()]

    def faults(self) -> Counter[str]:
        """How many faults were injected, by kind and point."""
        lines = [words for words in self.log() if words[0] in INJECTED]
        found = Counter(f"{kind} {where}" for kind, where, *_ in lines)
        return found + self.broker_faults

    def outcomes(self) -> Counter[str]:
        """What came of publishes, other than a confirm."""
        return Counter(words[1] for words in self.log() if words[0] == "outcome")

    def end_faults(self, process: subprocess.Popen[bytes]) -> None:
        """From now on all goes well."""
        process.send_signal(signal.SIGUSR1)

    def verdict(self) -> Verdict:
        """Let every run end, then judge."""
        found = self.clockwork.settle()
        return judge(
            expected(self.clockwork),
            self.clockwork.bodies(),
            duplicates=sum(run.duplicates for run in found),
            faults=self.faults(),
        )

    def wait_for(self, count: int, seconds: float) -> None:
        """Until so many faults are injected, or so long."""
        give_up = time.monotonic() + seconds
        while sum(self.faults().values()) < count and time.monotonic() < give_up:
            time.sleep(0.2)

    # -- faults of the broker ------------------------------------------------------

    def close_connections(self, broker: Rabbit, vhost: str) -> None:
        """As ``rabbitmqctl close_all_connections``."""
        for each in broker.api("GET", f"vhosts/{quote(vhost, safe='')}/connections"):
            with suppress(URLError):
                broker.api("DELETE", f"connections/{quote(each['name'], safe='')}")
                self.broker_faults["broker connection_closed"] += 1

    def unbind(self, broker: Rabbit, vhost: str) -> None:
        """The lane loses its queue's binding: publishes are returned."""
        unbind(broker, vhost)
        self.broker_faults["broker unbound"] += 1

    def refuse(self, broker: Rabbit, vhost: str, seconds: float) -> None:
        """The queue is full: publishes are nacked."""
        fill(broker, vhost)
        self.broker_faults["broker queue_full"] += 1
        time.sleep(seconds)
        make_room(broker, vhost)

    def alarm(self, broker: Rabbit, seconds: float) -> None:
        """A memory alarm: connection.blocked to whoever publishes."""
        broker.ctl("set_vm_memory_high_watermark", "0.0001")
        self.broker_faults["broker memory_alarm"] += 1
        time.sleep(seconds)
        broker.ctl("set_vm_memory_high_watermark", "0.6")

    def freeze(self, broker: Rabbit, seconds: float) -> None:
        """It stands still longer than a confirm may take: the acks come late."""
        broker.pause()
        self.broker_faults["broker frozen"] += 1
        time.sleep(seconds)
        broker.unpause()

    def restart(self, broker: Rabbit) -> None:
        broker.kill()
        self.broker_faults["broker killed"] += 1
        broker.start()


def expected(clockwork: Clockwork) -> set[str]:
    """The ids of all runs that the cadences say, from adding to pausing.

    A pause takes effect schedule by schedule: what it came just too late for is
    expected, what it left out on record is not.
    """
    with clockwork.database.read() as connection:
        rows = connection.execute(select(schedules)).all()
        paused = select(runs.c.id).where(
            runs.c.state == RunState.SKIPPED, runs.c.reason == SkippedReason.PAUSED
        )
        left_out = set(connection.execute(paused).scalars())
    found: set[str] = set()
    for row in rows:
        until = max(filter(None, (row.paused_at, row.last_due_at)))
        timing = load(row).definition.timing
        due = timing.between(row.created_at, until)
        found |= {run_id(row.id, AUTO, moment) for moment in due}
    return found - left_out


def unbind(broker: Rabbit, vhost: str) -> None:
    """Take the lane's queue from the exchange that beats publish to."""
    exchange = Topology(lanes=lanes_named(["default"])).run_exchange
    between = f"bindings/{quote(vhost, safe='')}/e/{exchange}/q/{DEFAULT_QUEUE}"
    keys = [each["properties_key"] for each in broker.api("GET", between)]
    assert keys, "the lane's queue was not bound"
    for key in keys:
        # somebody may have declared it anew, or it comes encoded already
        broker.api("DELETE", f"{between}/{quote(unquote(key), safe='')}")


def _full(vhost: str) -> str:
    return f"policies/{quote(vhost, safe='')}/full"


def fill(broker: Rabbit, vhost: str) -> None:
    """Let the lane's queue take nothing any more."""
    policy = {
        "pattern": f"^{DEFAULT_QUEUE}$",
        "definition": {"max-length": 0, "overflow": "reject-publish"},
        "apply-to": "queues",
        "priority": 9,
    }
    broker.api("PUT", _full(vhost), policy)


def make_room(broker: Rabbit, vhost: str) -> None:
    """Let it take messages again."""
    broker.api("DELETE", _full(vhost))
