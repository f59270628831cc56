"""Real beats that fail at named points, forked from one process that brings them back.

Run as a script. Each beat is the product's own scheduler with the parts that
fail. SIGUSR1 ends the faults, SIGTERM the beats.
"""

from __future__ import annotations

import json
import os
import signal
import time
import traceback
from typing import Any

from fault_points import (
    DICE,
    PUBLISHERS,
    TICKERS,
    FaultyDatabase,
    FaultyPublisher,
    FaultyPublisherThread,
    FaultyTicker,
    claim_due,
    record_published,
)

from flask_metronome import beat, publishing, state
from flask_metronome.store import outbox, ticks


def put_in() -> None:
    """Replace the parts; pauses are shorter, so that more fails in less time."""
    variant = str(DICE.config.get("variant"))
    beat.Ticker = TICKERS.get(variant, FaultyTicker)  # type: ignore[misc]
    beat.PublisherThread = PUBLISHERS.get(  # type: ignore[misc]
        variant, FaultyPublisherThread
    )
    publishing.Publisher = FaultyPublisher  # type: ignore[misc]
    state.Database = FaultyDatabase  # type: ignore[misc]
    ticks._claim_due = claim_due
    outbox.record_published = record_published
    beat.LONGEST_DATABASE_BACKOFF_SECONDS = 0.2
    publishing.POLL_SECONDS = 0.15
    publishing.LONGEST_BACKOFF_SECONDS = 0.5


def run_beat(app: Any, number: int) -> None:
    """One beat, from fork to exit."""

    def terminate(*_: Any) -> None:
        scheduler.close()
        raise SystemExit

    def disarm(*_: Any) -> None:
        DICE.armed = False

    armed, DICE.armed = DICE.armed, False
    DICE.reseed(number)
    signal.signal(signal.SIGUSR1, disarm)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    scheduler = beat.Scheduler(app=app)
    signal.signal(signal.SIGTERM, terminate)
    DICE.armed = armed
    DICE.ready[number] = 1
    try:
        while True:
            scheduler.tick()
    except SystemExit:
        scheduler.close()


class Nursery:
    """Keeps so many beats alive, and wakes those that stand still."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._living: dict[int, int] = {}
        self._wake_at: dict[int, float] = {}
        self._born = 0
        self._ending = False
        signal.signal(signal.SIGTERM, self._end)
        signal.signal(signal.SIGUSR1, self._disarm)

    def run(self) -> None:
        DICE.armed = True
        while self._living or not self._ending:
            while len(self._living) < DICE.config["beats"] and not self._ending:
                self._fork()
            self._reap()
            self._wake()
            time.sleep(0.02)

    def _fork(self) -> None:
        self._born += 1
        child = os.fork()
        if child:
            self._living[child] = self._born
            return
        status = 1
        try:
            run_beat(self._app, self._born)
            status = 0
        except SystemExit as error:
            # it could not start: the broker is away
            print(f"beat {self._born}: {error}", flush=True)
            time.sleep(0.3)
            status = 0
        except BaseException:
            traceback.print_exc()
            DICE.note("crashed", "by_itself")
        os._exit(status)

    def _reap(self) -> None:
        while self._living:
            pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
            if not pid:
                return
            if os.WIFSTOPPED(status):
                seconds = DICE.between(*DICE.config.get("stopped_seconds", (6, 8)))
                self._wake_at[pid] = time.monotonic() + seconds
            else:
                DICE.ready[self._living.pop(pid, 0)] = 0

    def _wake(self) -> None:
        for pid, moment in list(self._wake_at.items()):
            if time.monotonic() >= moment:
                del self._wake_at[pid]
                DICE.stopped.value -= 1
                DICE.note("woken", "beat")
                os.kill(pid, signal.SIGCONT)

    def _end(self, *_: Any) -> None:
        self._ending = True
        self._tell(signal.SIGTERM)

    def _disarm(self, *_: Any) -> None:
        DICE.armed = False
        self._tell(signal.SIGUSR1)

    def _tell(self, number: int) -> None:
        for pid in self._living:
            os.kill(pid, number)


if __name__ == "__main__":
    DICE.configure(json.loads(os.environ["METRONOME_TEST_FAULTS"]))
    put_in()
    from clockwork_app import metronome

    Nursery(metronome.celery).run()
