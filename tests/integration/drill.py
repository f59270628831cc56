"""Beats of this very process on a settable clock: many faults in little time.

Ticker, publisher and store are the product's, PostgreSQL and RabbitMQ are real.
Whoever is to be killed is forked off first.
"""

from __future__ import annotations

import os
import random
import time
import uuid
from collections import Counter
from contextlib import suppress
from datetime import timedelta

from clockwork import Clockwork
from fault_points import (
    DICE,
    PUBLISHERS,
    TICKERS,
    FaultyDatabase,
    FaultyPublisher,
    FaultyPublisherThread,
    FaultyTicker,
)
from faults import DEFAULT_QUEUE, POINTS, Verdict, expected, judge
from flask import Flask
from kombu import Connection
from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError

from flask_metronome import Metronome
from flask_metronome.core.claim import Delivery
from flask_metronome.core.claim import Verdict as ClaimVerdict
from flask_metronome.database import Database
from flask_metronome.models import runs
from flask_metronome.state import State, state_of
from flask_metronome.store import claims
from flask_metronome.testing import SettableClock

RATES = {
    "database": {"before_commit": 0.1, "after_commit": 0.1},
    "wire": {"before_send": 0.06, "before_confirm": 0.06},
}
#: Share of turns that a beat does not survive.
KILLED = 0.12
#: Seconds of the schedules' time from one turn to the next.
STEP_SECONDS = 0.1
SCHEDULES = 10


class Drill:
    """Four beats that take turns, and fail.

    :param variant: of a negative control, if any.
    """

    def __init__(self, clockwork: Clockwork, variant: str = "") -> None:
        self.log = clockwork.folder / "faults"
        self.log.touch()
        DICE.configure({"seed": 7, "log": str(self.log), **RATES})
        self._random = random.Random(7)
        self._variant = variant
        self.clockwork = clockwork
        self.clock = SettableClock()
        app = Flask("drill")
        app.config.update(clockwork.settings)
        Metronome(app)
        self.state: State = state_of(app)
        self.state.database = FaultyDatabase(clockwork.database_url, clock=self.clock)
        _hurry(clockwork.database)
        clockwork.database = self.state.database
        self.state.topology.apply(self.state.broker_url())
        self.beats = [self._beat() for _ in range(4)]
        self.kills: Counter[str] = Counter()
        for number in range(SCHEDULES):
            anchor = self.clock.moment + timedelta(seconds=number * STEP_SECONDS)
            clockwork.add(f"k{number}", "clock.default", start_at=anchor)

    def _beat(self) -> tuple[FaultyTicker, FaultyPublisherThread]:
        name, state = str(uuid.uuid4()), self.state
        ticker = TICKERS.get(self._variant, FaultyTicker)
        thread = PUBLISHERS.get(self._variant, FaultyPublisherThread)(state, name)
        thread._publisher = FaultyPublisher(state.broker_url(), confirm_timeout=2)
        return ticker(state.database, state.settings, name), thread

    def run(self, faults: int) -> None:
        """Take turns until so many faults were injected."""
        DICE.armed = True
        while sum(self.faults().values()) < faults:
            for _ in range(10):
                self.clock.tick(STEP_SECONDS)
                self._turn()
        DICE.armed = False

    def turn_until(self, outcome: str) -> None:
        """Let beats take turns, in good health, until a publish ended so."""
        give_up = time.monotonic() + 20
        while f"outcome {outcome}" not in self.log.read_text():
            assert time.monotonic() < give_up, f"nothing was {outcome}"
            self.clock.tick(STEP_SECONDS)
            self._take_turn(*self.beats[0])

    def faults(self) -> Counter[str]:
        lines = [line.split() for line in self.log.read_text().splitlines()]
        return Counter(
            f"{kind} {where}" for kind, where, *_ in lines if kind != "outcome"
        )

    def _turn(self) -> None:
        number = self._random.randrange(len(self.beats))
        if self._random.random() < KILLED:
            self._killed(number)
            self.beats[number] = self._beat()
            return
        with suppress(DBAPIError):
            self._take_turn(*self.beats[number])

    def _take_turn(self, ticker: FaultyTicker, thread: FaultyPublisherThread) -> None:
        report, _ = ticker.tick()
        thread.hand_over(report.outbox)
        thread._turn()

    def _killed(self, number: int) -> None:
        """A child takes this beat's turn and does not survive one of the points."""
        where = self._random.choice(POINTS)
        self.beats[number][1]._publisher.close()
        child = os.fork()
        if not child:
            try:
                DICE.config = {**DICE.config, "database": {}, "kill": {where: 1.0}}
                self._take_turn(*self._beat())
            finally:
                os._exit(0)
        os.waitpid(child, 0)

    def verdict(self) -> Verdict:
        """Let all be published, then be every worker there is, and judge."""
        self.clockwork.pause_all()
        for _ in range(40):
            self.clock.tick(5)
            self._take_turn(*self.beats[0])
            if not self._planned():
                break
        wire = self._wire()
        return judge(
            expected(self.clockwork),
            self._started(wire),
            duplicates=sum(n - 1 for n in wire.values()),
            faults=self.faults(),
        )

    def _planned(self) -> int:
        statement = select(func.count()).where(runs.c.state == "planned")
        with self.state.database.read() as connection:
            return int(connection.execute(statement).scalar_one())

    def _wire(self) -> Counter[str]:
        """How often each run's message lies in the queue."""
        found: Counter[str] = Counter()
        with Connection(self.state.broker_url()) as connection:
            channel = connection.default_channel
            while (
                message := channel.basic_get(DEFAULT_QUEUE, no_ack=True)
            ) is not None:
                found[message.properties["message_id"]] += 1
        return found

    def _started(self, wire: Counter[str]) -> Counter[str]:
        found: Counter[str] = Counter()
        for run in wire.elements():
            delivery = Delivery(
                run_id=run,
                task="clock.default",
                retries=0,
                redelivered=False,
                worker="w",
                worker_id=None,
                pid=1,
            )
            with self.state.database.begin() as connection:
                answer = claims.claim(
                    connection, delivery, lease_seconds=30, now=self.clock.moment
                )
            found[run] += answer.verdict is ClaimVerdict.CLAIM
        return +found

    def close(self) -> None:
        DICE.close()
        for _, thread in self.beats:
            thread._publisher.close()


def _hurry(database: Database) -> None:
    """No server dies here, so nothing needs to wait for the disk."""
    with database.begin() as connection:
        name = connection.exec_driver_sql("SELECT current_database()").scalar_one()
        connection.exec_driver_sql(
            f'ALTER DATABASE "{name}" SET synchronous_commit = off'
        )
    database.dispose()
