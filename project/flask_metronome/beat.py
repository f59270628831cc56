"""The scheduler behind ``celery beat -S metronome``.

From Celery's scheduler it inherits what Celery's beat service calls, and
nothing of how it keeps time: no schedule is held in memory, a tick is one
transaction on what is due. Publishing happens in a thread of its own, so that
no broker can hold up planning, the heartbeat or the stop.
"""

from __future__ import annotations

import logging
import os
import queue
import socket
import threading
import time
import uuid
from datetime import datetime
from typing import Any, ClassVar

from celery.beat import Scheduler as CeleryScheduler
from sqlalchemy.exc import ProgrammingError, SQLAlchemyError

from flask_metronome import schema
from flask_metronome.database import Database, is_disconnect
from flask_metronome.errors import DatabaseUnreachable, MetronomeError
from flask_metronome.operations import sync_declared
from flask_metronome.publishing import PublisherThread
from flask_metronome.settings import Settings
from flask_metronome.state import State, state_of
from flask_metronome.store import beats, schedules
from flask_metronome.store.tick_times import TickTimes
from flask_metronome.store.ticks import BatchRefused, TickReport, tick
from flask_metronome.version import __version__
from flask_metronome.wakeups import Wakeups
from metronome_broker import BrokerError

logger = logging.getLogger(__name__)

#: Seconds between two heartbeats of a beat.
HEARTBEAT_SECONDS = 5.0
#: Longest pause between two tries while the database is away, seconds.
LONGEST_DATABASE_BACKOFF_SECONDS = 5.0
#: How long a stop waits for the database, after all else has stopped.
_GOODBYE_SECONDS = 0.5
#: A stop that takes longer is cut short.
_LAST_RESORT_SECONDS = 4.0
#: A due time this close is waited for exactly.
_SHORTEST_SLEEP_SECONDS = 0.001


class Ticker:
    """Ticks one database: what a beat does, without Celery and without a broker.

    :param beat_id: this beat's identity, also the owner of what it publishes.
    """

    def __init__(self, database: Database, settings: Settings, beat_id: str) -> None:
        self._database = database
        self._settings = settings
        self._beat_id = beat_id

    def tick(self) -> tuple[TickReport, datetime]:
        """Decide what is due; the report and the deciding clock's instant.

        A batch that the database refuses is planned one by one, so that a
        single bad row is found and set aside.
        """
        try:
            return self._tick(self._settings.beat_batch)
        except BatchRefused as error:
            _raise_if_not_theirs(error)
            logger.warning(
                "A batch was refused, planning one by one: %s", error.__cause__
            )
        return self._one_by_one()

    def _one_by_one(self) -> tuple[TickReport, datetime]:
        """A batch in as many transactions, up to the first that is refused."""
        whole = TickReport()
        while True:
            try:
                report, now = self._tick(1)
            except BatchRefused as error:
                _raise_if_not_theirs(error)
                whole.broken, whole.full = whole.broken + 1, True
                return whole, self._set_aside(error)
            whole.planned += report.planned
            whole.decided += report.decided
            whole.broken += report.broken
            whole.outbox += report.outbox
            whole.cancelled += report.cancelled
            whole.next_due_at, whole.full = report.next_due_at, report.full
            if not report.full or whole.decided >= self._settings.beat_batch:
                return whole, now

    def _set_aside(self, refused: BatchRefused) -> datetime:
        with self._database.begin() as connection:
            now = self._database.now(connection)
            for schedule_id in refused.schedule_ids:
                why = _one_line(refused.__cause__ or refused)
                schedules.set_aside(connection, schedule_id, why, now=now)
        return now

    def _tick(self, batch: int) -> tuple[TickReport, datetime]:
        with self._database.begin() as connection:
            now = self._database.now(connection)
            report = tick(
                connection,
                now=now,
                batch=batch,
                owner=self._beat_id,
                lease_seconds=self._settings.publish_lease_seconds,
            )
        return report, now


def _raise_if_not_theirs(refused: BatchRefused) -> None:
    """Nothing is wrong with the batch: the database is away, lost a race, or has
    other tables than this version expects."""
    cause = refused.__cause__
    if cause is None or is_disconnect(cause) or isinstance(cause, ProgrammingError):
        raise cause or refused


class LastResort(threading.Thread):
    """Ends the process when a stop takes too long.

    A driver may wait for a server that stands still for as long as it does, and
    an exception does not free it. Ending hard loses nothing: whatever was under
    way is in SQL or was never said to be.
    """

    def __init__(self) -> None:
        super().__init__(name="metronome-last-resort", daemon=True)
        # its put may be called by a signal handler, wherever that interrupts
        self._asked: queue.SimpleQueue[None] = queue.SimpleQueue()

    def arm(self) -> None:
        """The process has been told to stop."""
        self._asked.put(None)

    def run(self) -> None:
        """Wait for a stop, then a while for the process to end."""
        self._asked.get()
        time.sleep(_LAST_RESORT_SECONDS)
        logger.warning("Something does not answer; stopping without it.")
        os._exit(0)


class Scheduler(CeleryScheduler):
    """Celery's beat service drives it: ``tick`` answers how long to sleep."""

    #: The one that is being set up in this process, if one is.
    _starting: ClassVar[Scheduler | None] = None

    def __init__(self, app: Any, *args: Any, lazy: bool = False, **kwargs: Any) -> None:
        self.beat_id = str(uuid.uuid4())
        self._state: State = state_of(app)
        self._database = self._state.database
        self._ticker = Ticker(self._database, self._state.settings, self.beat_id)
        self._publishing: PublisherThread | None = None
        self._wakeups = Wakeups(self._database)
        self._last_resort = LastResort()
        self._ticks = 0
        self._planned = 0
        self._failures = 0
        self._busy = False
        self._closed = False
        self._last_heartbeat = float("-inf")
        self._times = TickTimes(self.beat_id)
        super().__init__(app, *args, lazy=lazy, **kwargs)

    # -- what Celery's service calls ------------------------------------------

    def setup_schedule(self) -> None:
        """Check what this beat stands on, bring in the code's schedules, register.

        :raises SystemExit: with one sentence, when database or broker is away
            or not as expected: Celery's command shows it and ends with 1.
        """
        starting = Scheduler._starting
        if starting is not None:
            # Celery's signal handler wants its scheduler, which is only being made
            starting._last_resort.arm()
            raise SystemExit
        self._busy, Scheduler._starting = True, self
        self._last_resort.start()
        try:
            self._begin()
        except (MetronomeError, BrokerError) as error:
            raise SystemExit(f"beat cannot start: {error}") from error
        finally:
            self._busy, Scheduler._starting = False, None

    def _begin(self) -> None:
        schema.check(self._database)
        self._state.celery.resolve_broker()
        sync_declared(self._state)
        self._state.topology.apply(self._state.broker_url())
        with self._database.begin() as connection:
            beats.register(
                connection,
                beat_id=self.beat_id,
                host=socket.gethostname(),
                pid=os.getpid(),
                version=__version__,
                now=self._database.now(connection),
            )
        self._publishing = PublisherThread(self._state, self.beat_id)
        self._publishing.start()
        self._wakeups.start()

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """One turn and the sleep after it; 0, as there is nothing left to wait.

        The sleep is here and not in Celery's service, so that an edit can cut
        it short. A missing database is waited for.
        """
        self._busy = True
        try:
            self._wakeups.sleep(self._turn())
        finally:
            self._busy = False
        return 0.0

    def _turn(self) -> float:
        try:
            with self._times.measured():
                report, now = self._ticker.tick()
            self._heartbeat(now)
        except (DatabaseUnreachable, SQLAlchemyError) as error:
            return self._back_off(error)
        except Exception as error:
            logger.exception("The beat stumbled and goes on.")
            return self._back_off(error)
        if self._failures:
            logger.warning("The database is back after %d tries.", self._failures)
            self._failures = 0
        self._ticks += 1
        self._planned += report.planned
        if self._publishing is not None:
            self._publishing.hand_over(report.outbox)
            self._publishing.stop_bodies(report.cancelled)
        return self._sleep(report, now)

    def _sleep(self, report: TickReport, now: datetime) -> float:
        longest = self._state.settings.beat_max_sleep_seconds
        if report.full:
            return 0.0
        if report.next_due_at is None:
            return longest
        left = (report.next_due_at - now).total_seconds()
        return min(longest, max(left, _SHORTEST_SLEEP_SECONDS))

    def _back_off(self, error: Exception) -> float:
        self._failures += 1
        pause = min(0.25 * 2**self._failures, LONGEST_DATABASE_BACKOFF_SECONDS)
        if self._failures in (1, 10) or self._failures % 60 == 0:
            logger.error("No tick (try %d): %s", self._failures, _one_line(error))
        return float(pause)

    def _heartbeat(self, now: datetime) -> None:
        if time.monotonic() - self._last_heartbeat < HEARTBEAT_SECONDS:
            return
        publishing = self._publishing
        with self._database.begin() as connection:
            beats.heartbeat(
                connection,
                self.beat_id,
                now=now,
                ticks=self._ticks,
                planned=self._planned,
                published=publishing.published if publishing else 0,
                broker_error=publishing.error if publishing else None,
            )
            self._times.write(connection)
        self._times.clear()
        self._last_heartbeat = time.monotonic()

    def close(self) -> None:
        """Stop publishing within seconds; what is unpublished stays in SQL.

        Celery's signal handler calls this first, in the middle of whatever the
        main thread does, perhaps holding a lock: then nothing is done yet. The
        handler goes on to raise SystemExit, which unwinds the turn, and Celery's
        service calls this again.
        """
        if self._busy:
            self._last_resort.arm()
        if self._busy or self._closed:
            return
        self._closed = True
        # in a thread, since nothing bounds a database that stands still
        goodbye = threading.Thread(target=self._say_goodbye, daemon=True)
        goodbye.start()
        self._wakeups.stop()
        if self._publishing is not None:
            self._publishing.stop()
        goodbye.join(_GOODBYE_SECONDS)
        if not goodbye.is_alive():
            self._database.dispose()

    def _say_goodbye(self) -> None:
        try:
            with self._database.begin() as connection:
                now = self._database.now(connection)
                beats.stopped(connection, self.beat_id, now=now)
        except (MetronomeError, SQLAlchemyError) as error:
            logger.warning("Could not say good-bye: %s", _one_line(error))

    def sync(self) -> None:
        """Nothing to write back: each tick is committed."""

    def should_sync(self) -> bool:
        """Never: see :meth:`sync`."""
        return False

    @property
    def schedule(self) -> dict[str, Any]:
        """Empty: schedules live in the database, not in this process."""
        return {}

    @schedule.setter
    def schedule(self, _: Any) -> None:
        return

    @property
    def info(self) -> str:
        """A line for beat's banner."""
        return f"    . db -> {self._database.public_url}"


def _one_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [repr(error)])[0]
