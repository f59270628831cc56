"""Named points of a beat at which a test makes it fail, and parts that fail.

SIGKILL and SIGSTOP at points of a tick and of a publish, database errors around
commits, connections cut around sending. Each fault is written to a log before
it happens. The two negative controls are here, too.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, OperationalError

from flask_metronome import beat, publishing
from flask_metronome.database import Database
from flask_metronome.store import decisions, outbox, ticks
from metronome_broker import Publisher

#: No more beats than this are stopped at once, so that some go on.
MOST_STOPPED = 2


class Dice:
    """Says whether a fault happens now, and writes it down first."""

    def __init__(self) -> None:
        self.armed = False
        #: Whether this tick decides anything: a point of an idle one is none.
        self.has_claimed = False
        self.stopped = multiprocessing.RawValue("i", 0)
        #: By number of birth, whether a beat has started and lives.
        self.ready = multiprocessing.RawArray("b", 10_000)
        self.left = multiprocessing.RawValue("i", 0)
        self.config: dict[str, Any] = {}
        self._random = random.Random()
        self._log = -1

    def configure(self, config: dict[str, Any]) -> None:
        """Take rates by kind and point, a seed, and the log's path."""
        self.config = config
        self.left.value = config.get("stops", 1_000_000)
        self._log = os.open(config["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self.reseed(0)

    def reseed(self, number: int) -> None:
        """Throw otherwise than the other processes."""
        self._random.seed(self.config["seed"] * 1_000_003 + number)

    def close(self) -> None:
        self.armed = False
        os.close(self._log)

    def note(self, kind: str, where: str) -> None:
        line = f"{kind} {where} {os.getpid()} {time.monotonic():.3f}\n"
        os.write(self._log, line.encode())

    def falls(self, kind: str, where: str) -> bool:
        """Whether this fault happens here; noted if so."""
        rate = self.config.get(kind, {}).get(where, 0.0)
        if not self.armed or self._random.random() >= rate:
            return False
        self.note(kind, where)
        return True

    def point(self, where: str) -> None:
        """A named point: the process may end or stand still here."""
        if self._others_are_left() and self.falls("kill", where):
            os.kill(os.getpid(), signal.SIGKILL)
        if self.left.value <= 0 or self.stopped.value >= MOST_STOPPED:
            return
        if self.falls("stop", where):
            self.left.value -= 1
            self.stopped.value += 1
            os.kill(os.getpid(), signal.SIGSTOP)

    def _others_are_left(self) -> bool:
        """A killed beat does not come back while the broker is away."""
        return self.config.get("beats", 1) == 1 or bytes(self.ready).count(1) > 2

    def database(self, where: str) -> None:
        if self.falls("database", where):
            raise OperationalError("injected", {}, Exception(where))

    def between(self, low: float, high: float) -> float:
        return self._random.uniform(low, high)


DICE = Dice()


class FaultyDatabase(Database):
    """Fails before and after commits."""

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        with super().begin() as connection:
            yield connection
            DICE.database("before_commit")
        DICE.database("after_commit")


class TicksDatabase:
    """A tick's view of the database, with points around its commit."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        paused = False
        try:
            with self._database.begin() as connection:
                yield connection
                before = time.monotonic()
                if DICE.has_claimed:
                    DICE.point("before_commit")
                paused = time.monotonic() - before > 1
        except DBAPIError:
            if paused:
                DICE.note("refused", "commit")
            raise
        if DICE.has_claimed:
            DICE.point("after_commit")


class FaultyTicker(beat.Ticker):
    def __init__(self, database: Any, *args: Any) -> None:
        super().__init__(TicksDatabase(database), *args)  # type: ignore[arg-type]


class TwoTransactionsTicker(FaultyTicker):
    """Negative control: advances in one transaction, inserts in another."""

    def _tick(self, batch: int) -> Any:
        put_off: list[Any] = []

        def put_off_record(_: Connection, plans: Any, rows: Any, *, now: Any) -> Any:
            put_off.append((plans, rows, now))
            return set()

        ticks.decisions.record = put_off_record
        try:
            report = super()._tick(batch)
        finally:
            ticks.decisions.record = RECORD
        with self._database.begin() as connection:
            for plans, rows, now in put_off:
                RECORD(connection, plans, rows, now=now)
        return report


class FaultyPublisher(Publisher):
    """Its connection is cut before a batch is sent, or before it is confirmed."""

    _cut_next_read = False

    def _send(self, wire: Any, messages: Any) -> None:
        if DICE.falls("wire", "before_send"):
            wire.cut()
        self._cut_next_read = DICE.falls("wire", "before_confirm")
        super()._send(wire, messages)

    def _read(self, wire: Any, end: float) -> None:
        if self._cut_next_read:
            self._cut_next_read = False
            wire.cut()
        super()._read(wire, end)


class FaultyPublisherThread(publishing.PublisherThread):
    """Notes what came of each batch, with points before that is recorded."""

    def _record(self, report: Any, unspeakable: Any) -> None:
        for fate in ("nacked", "returned", "unknown"):
            for _ in getattr(report, fate):
                DICE.note("outcome", fate)
        DICE.point("after_publish")
        super()._record(report, unspeakable)


class HopefulPublisherThread(FaultyPublisherThread):
    """Negative control: takes an unknown outcome for a published run."""

    def _record(self, report: Any, unspeakable: Any) -> None:
        hoped = report.confirmed | report.unknown
        report = replace(report, confirmed=hoped, unknown=frozenset())
        super()._record(report, unspeakable)


RECORD = decisions.record
_claim_due, _record_published = ticks._claim_due, outbox.record_published


def claim_due(connection: Connection, *args: Any) -> Any:
    rows = _claim_due(connection, *args)
    DICE.has_claimed = bool(rows)
    if rows:
        DICE.point("after_select")
    return rows


def record_published(connection: Connection, ids: Any, **more: Any) -> None:
    ids = list(ids)
    if ids:
        DICE.point("before_recording")
    _record_published(connection, ids, **more)


TICKERS = {"two_transactions": TwoTransactionsTicker}
PUBLISHERS = {"unknown_is_published": HopefulPublisherThread}
