"""The worker's books: claims that wait for the database, endings that never do.

A claim is refused while the database is away. What a task has done is never
lost and never delays it for long: it goes to the spool and is replayed.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any
from weakref import WeakKeyDictionary

from billiard.exceptions import SoftTimeLimitExceeded

from flask_metronome.core.claim import Delivery
from flask_metronome.core.ending import Ending
from flask_metronome.core.run import RunState
from flask_metronome.database import Database, is_disconnect
from flask_metronome.errors import DatabaseUnreachable
from flask_metronome.identity import own_worker_id
from flask_metronome.settings import Settings
from flask_metronome.spool import Outcome, Record, Spool
from flask_metronome.store import claims, ends, results, returns, workers
from flask_metronome.store.claims import Claim, KeyTaken
from flask_metronome.store.records import (
    Closing,
    HandedBack,
    bare,
    read_closing,
    read_ending,
    read_handed_back,
    read_result,
    record_of,
)
from flask_metronome.store.results import Result
from flask_metronome.store.writer import Writer

logger = logging.getLogger(__name__)

#: Run id and fence of a claim.
Holder = tuple[str, int]
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0
#: A spooled record that was refused so often is written without its result.
_MOST_REFUSALS = 10
#: After a failed write, straight to the spool for so long: no task waits for
#: the same dead database again and again.
_REST_SECONDS = 5.0


class Ledger:
    """What workers write about tasks, in one process."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings
        self._resting_until = 0.0
        self._writer: Writer | None = None
        self._refused: tuple[Record, int] = ({}, 0)
        self.spool = Spool(settings.data_dir / "spool")

    def claim(self, delivery: Delivery) -> Claim:
        """Claim a run, waiting for the database if it must.

        :raises DatabaseUnreachable: when it stayed away for
            ``METRONOME_CLAIM_WAIT_SECONDS``.
        """
        give_up = time.monotonic() + self._settings.claim_wait_seconds
        pause = _FIRST_PAUSE
        if delivery.redelivered:
            self._replay_first(give_up)
        tried: list[datetime] = []
        while True:
            try:
                return self._claim_once(delivery, tried)
            except Exception as error:
                if time.monotonic() + pause > give_up:
                    raise DatabaseUnreachable(
                        self._database.public_url, error
                    ) from error
                if not isinstance(error, KeyTaken):
                    logger.warning("Claim of %s must wait: %s", delivery.run_id, error)
            time.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def write(
        self,
        *,
        ending: Ending | None = None,
        result: Result | None = None,
        holder: Holder | None = None,
    ) -> bool:
        """Write an ending and a result in one transaction; whether they count.

        With ``holder`` the result counts only while that claim holds its run.

        Never raises and never waits for a database that is known to be away:
        then the record is spooled, and taken to count.
        """
        if time.monotonic() >= self._resting_until:
            try:
                counts = self._write_once(ending, result, holder)
                self._tell_dropped()
                return counts
            except Exception as error:
                # a soft time limit may strike in here, when the body is over
                if not isinstance(error, SoftTimeLimitExceeded) and (
                    not is_disconnect(error)
                ):
                    logger.exception("A task's end could not be written")
                    self._write_bare(ending, result if holder is None else None)
                    return True
                self._resting_until = time.monotonic() + _REST_SECONDS
                logger.warning("The database is away, spooling: %s", error)
        if holder is None:  # progress is of no interest later
            self._keep(record_of(ending=ending, result=result))
        return True

    def post(
        self,
        *,
        ending: Ending | None = None,
        result: Result | None = None,
        inline: bool = False,
        wait_seconds: float = 0.0,
    ) -> None:
        """Like :meth:`write`, by the writer thread where there is one.

        :param inline: write now: the caller is a task and not an event loop.
        :param wait_seconds: give the thread so long before going on.
        """
        if inline:
            self.write(ending=ending, result=result)
            return
        written = threading.Event()

        def write() -> None:
            try:
                self.write(ending=ending, result=result)
            finally:
                written.set()

        self._hand_over(write)
        written.wait(wait_seconds)

    def close_unstarted(
        self, run_id: str, *, state: RunState, reason: str, error: str | None = None
    ) -> None:
        """End a run that no worker has begun; never raises or waits."""
        closing = Closing(run_id=run_id, state=state, reason=reason, error=error)
        self._hand_over(lambda: self._close_or_keep(closing))

    def hand_back(self, run_id: str, *, retries: int, is_gone: bool) -> bool:
        """Have a run's message sent again, from the outbox; whether it will be.

        For one that is acknowledged when the database was away for its claim.

        :param is_gone: it is acknowledged already: no broker has it any more.
        """
        handed_back = HandedBack(run_id=run_id, retries=retries)
        kept = self.spool.append(record_of(handed_back=handed_back), reserved=True)
        if is_gone and not kept:
            self.spool.count_drop()
            logger.error("The message of %s was dropped: %s", run_id, self._no_room())
        return kept

    def start_writer(self) -> None:
        """From now on this process writes in a thread; for a worker's main one."""
        if self._writer is None or not self._writer.is_running:
            self._writer = Writer()

    def stop_writer(self, *, timeout_seconds: float = 3.0) -> None:
        """Write what is queued and end the thread."""
        if self._writer is not None:
            self._writer.stop(timeout_seconds=timeout_seconds)

    def _hand_over(self, work: Callable[[], object]) -> None:
        writer = self._writer
        if writer is None or not writer.is_running:
            work()
        elif not writer.put(work):
            self.spool.count_drop()

    def _close_or_keep(self, closing: Closing) -> None:
        try:
            self._close_once(closing)
        except Exception as failure:
            if not is_disconnect(failure):
                self.spool.count_drop()
                logger.exception("A run's end could not be written")
            elif not self.spool.append(record_of(closing=closing), reserved=True):
                self.spool.count_drop()
                logger.error("A run's end was dropped: %s", self._no_room())

    def _close_once(self, closing: Closing, *, age_seconds: float = 0.0) -> None:
        with self._database.begin() as connection:
            now = self._database.now(connection) - timedelta(seconds=age_seconds)
            ends.close_unstarted(connection, **asdict(closing), now=now)

    def _hand_back_once(self, handed_back: HandedBack) -> None:
        with self._database.begin() as connection:
            now = self._database.now(connection)
            returns.take_back(connection, **asdict(handed_back), now=now)

    def receive(self, run_id: str) -> None:
        """Note that this worker has that run's message; never raises or waits."""
        since = time.monotonic()
        self._hand_over(lambda: self._receive_once(run_id, since))

    def _receive_once(self, run_id: str, since: float) -> None:
        if time.monotonic() < self._resting_until:
            return  # the claim will say more, later
        try:
            with self._database.begin() as connection:
                age = timedelta(seconds=time.monotonic() - since)
                now = self._database.now(connection) - age
                claims.receive(connection, [run_id], now=now)
        except Exception as error:
            if not is_disconnect(error):
                raise
            self._resting_until = time.monotonic() + _REST_SECONDS

    def replay(self, *, stop: Callable[[], bool] = lambda: False) -> int:
        """Write what is spooled, oldest first; how many records were done.

        :param stop: asked before each record; ``True`` leaves the rest for later.
        """
        return self.spool.replay(self._replay_one, stop=stop)

    def take_dropped(self) -> int:
        """How many records this machine's workers dropped since last asked."""
        return self.spool.take_dropped()

    def spooled(self) -> list[Record]:
        """The records that wait for the database, oldest first."""
        return self.spool.waiting() if self.spool.is_waiting() else []

    def _replay_first(self, give_up: float) -> None:
        """What this machine's workers know must be written before it is judged.

        A body may have ended, and only its message have come back.
        """
        give_up = min(give_up, time.monotonic() + _REST_SECONDS)
        while self.spool.is_waiting() and time.monotonic() < give_up:
            try:
                self.replay(stop=lambda: time.monotonic() >= give_up)
            except OSError as error:
                logger.error("The spool cannot be replayed: %s", error)
                return
            if self.spool.is_waiting():
                time.sleep(_FIRST_PAUSE)  # another process is at it, or it is away

    def _claim_once(self, delivery: Delivery, tried: list[datetime]) -> Claim:
        with self._database.begin() as connection:
            now = self._database.now(connection)
            earlier = tuple(tried)
            # a commit that is not confirmed may have been made all the same
            tried.append(now)
            return claims.claim(
                connection,
                delivery,
                lease_seconds=self._settings.lease_seconds,
                now=now,
                tried=earlier,
            )

    def _write_once(
        self,
        ending: Ending | None,
        result: Result | None,
        holder: Holder | None = None,
        *,
        age_seconds: float = 0.0,
    ) -> bool:
        with self._database.begin() as connection:
            now = self._database.now(connection) - timedelta(seconds=age_seconds)
            if age_seconds and ending is not None:
                # the age is by a host's clock, which may have been set meanwhile
                begun = ends.begun_at(connection, ending.run_id, ending.fence)
                now = max(now, begun or now)
            counts = holder is None or claims.is_holder(connection, *holder)
            if ending is not None:
                counts = ends.finish(connection, ending, now=now)
            if result is not None and counts:
                results.store(connection, result, now=now, late=age_seconds > 0)
        return counts

    def _write_bare(
        self, ending: Ending | None, result: Result | None, age_seconds: float = 0.0
    ) -> Outcome:
        """How it ended, at least, where the database refuses what it said.

        What is left out counts as dropped.
        """
        ending, result = bare(ending, result)
        self.spool.count_drop()
        if ending is None and result is None:
            return "drop"
        try:
            self._write_once(ending, result, age_seconds=age_seconds)
        except Exception as error:
            if not is_disconnect(error):
                logger.exception("Not even that it ended could be written")
                return "drop"
            self._keep(record_of(ending=ending, result=result))
        return "done"

    def _keep(self, record: Record) -> None:
        if self.spool.append(record):
            return
        # how it ended is short, whatever it said: there is room for that
        ending, result = bare(
            read_ending(record.get("ending")), read_result(record.get("result"))
        )
        short = record_of(ending=ending, result=result)
        if short and self.spool.append(short, reserved=True):
            logger.error("The spool is full: what a task said was dropped")
            return
        logger.error("A task's end was dropped: %s", self._no_room())

    def _no_room(self) -> str:
        return f"no spool: {self.spool.complaint() or 'it is full'}"

    def _tell_dropped(self) -> None:
        """Tell what this process dropped when not even the disk took a note."""
        if count := self.spool.take_uncounted():
            try:
                with self._database.begin() as connection:
                    workers.count_dropped(connection, own_worker_id() or "", count)
            except Exception:
                self.spool.count_drop(count)

    def _replay_one(self, record: Record, age_seconds: float) -> Outcome:
        try:
            closing = read_closing(record.get("closing"))
            handed_back = read_handed_back(record.get("handed_back"))
            ending = read_ending(record.get("ending"))
            result = read_result(record.get("result"))
        except (KeyError, TypeError, ValueError):
            # it must not block what comes after it
            logger.exception("A spooled record cannot be understood")
            self.spool.count_drop()
            return "drop"
        try:
            if closing is not None:
                self._close_once(closing, age_seconds=age_seconds)
            elif handed_back is not None:
                self._hand_back_once(handed_back)
            else:
                self._write_once(ending, result, age_seconds=age_seconds)
        except Exception as error:
            if is_disconnect(error) and not self._is_refused(record):
                return "later"
            logger.exception("A spooled record could not be written")
            return self._write_bare(ending, result, age_seconds)
        return "done"

    def _is_refused(self, record: Record) -> bool:
        """Whether the database is there and will not take this, again and again.

        A result larger than the server's packets looks like a lost connection.
        It must not block what comes after it.
        """
        seen, times = self._refused
        times = times + 1 if seen == record else 1
        self._refused = record, times
        if times < _MOST_REFUSALS:
            return False
        try:
            with self._database.read() as connection:
                self._database.now(connection)
        except Exception:
            return False
        return True


_LEDGERS: WeakKeyDictionary[Database, Ledger] = WeakKeyDictionary()


def ledger_of(state: Any) -> Ledger:
    """The ledger of an app's state, one a process and database."""
    ledger = _LEDGERS.get(state.database)
    if ledger is None:
        ledger = _LEDGERS.setdefault(
            state.database, Ledger(state.database, state.settings)
        )
    return ledger
