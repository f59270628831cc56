"""The publisher: takes planned runs to the broker and records what came of it.

A thread with a connection of its own. It holds no lock and no transaction
while it talks to the broker; whatever is not surely delivered stays in the
outbox, where this or another beat finds it again.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from flask_metronome import tracing
from flask_metronome.errors import DatabaseUnreachable
from flask_metronome.messages import message_of
from flask_metronome.revocation import stop_bodies
from flask_metronome.state import State
from flask_metronome.store import counters, outbox
from flask_metronome.store.outbox import OutboxRow
from metronome_broker import (
    BrokerError,
    InvalidMessage,
    OutboundMessage,
    Publisher,
    PublishReport,
)

logger = logging.getLogger(__name__)

#: Seconds between two looks at the outbox for what others left.
POLL_SECONDS = 1.0
#: Longest pause between two tries of a broker that is away, seconds.
LONGEST_BACKOFF_SECONDS = 3.0
_STOP_SECONDS = 2.0
#: The share of its claim for which a run may wait to be published.
_HELD_SHARE = 0.5

_Handed = tuple[float, list[OutboxRow]]


class PublisherThread(threading.Thread):
    """Publishes until it is stopped.

    ``published`` counts confirmed runs, ``error`` is why publishing fails
    right now, if it does.

    :param owner: id of the beat that claims what is published here.
    """

    def __init__(self, state: State, owner: str) -> None:
        super().__init__(name="metronome-publisher", daemon=True)
        self._state = state
        self._owner = owner
        self._database = state.database
        self._handed: queue.SimpleQueue[_Handed] = queue.SimpleQueue()
        self._backlog: deque[_Handed] = deque()
        self._stopping = threading.Event()
        self._publisher = Publisher(
            state.broker_url(),
            window=state.settings.publish_window,
            confirm_timeout=state.settings.confirm_timeout_seconds,
        )
        self._cancelled: list[str] = []
        self._failures = 0
        self.published = 0
        self.error: str | None = None

    def hand_over(self, rows: Sequence[OutboxRow]) -> None:
        """Publish these now; they are claimed for this beat already."""
        if rows:
            held = self._state.settings.publish_lease_seconds * _HELD_SHARE
            self._handed.put((time.monotonic() + held, list(rows)))

    def stop_bodies(self, runs: Sequence[str]) -> None:
        """Have workers stop the bodies of runs that were cancelled."""
        self._cancelled += runs

    def stop(self) -> None:
        """Stop within seconds, also in the middle of a publish."""
        self._stopping.set()
        self._handed.put((0.0, []))
        self._publisher.close()
        if self.is_alive() and threading.current_thread() is not self:
            self.join(_STOP_SECONDS)

    def run(self) -> None:
        """Publish what is handed over, and what lies in the outbox."""
        while not self._stopping.is_set():
            try:
                self._turn()
            except (DatabaseUnreachable, SQLAlchemyError) as error:
                # what is claimed comes back when the claim runs out
                logger.warning("The outbox cannot be read or written: %s", error)
                self._stopping.wait(POLL_SECONDS)
            except Exception:
                logger.exception("The publisher stumbled and goes on.")
                self._stopping.wait(POLL_SECONDS)

    def _turn(self) -> None:
        rows = self._waited_for() or self._claimed()
        if self._cancelled:
            cancelled, self._cancelled = self._cancelled, []
            stop_bodies(self._state, cancelled)
        while rows and not self._stopping.is_set():
            went_well = self._publish(rows)
            if not went_well:
                self._give_back()
                self._pause()
                return
            rows = self._handed_over() or self._claimed()

    def _waited_for(self) -> list[OutboxRow]:
        """What the ticks handed over, waiting at most a poll for the first."""
        if not self._backlog:
            with suppress(queue.Empty):
                self._backlog.append(self._handed.get(timeout=POLL_SECONDS))
        return self._handed_over()

    def _handed_over(self) -> list[OutboxRow]:
        """The next of what was handed over, as many as the confirm timeout is for.

        What has waited so long that another beat may soon claim it is left to the
        outbox: it must not come twice just because there is much to do.
        """
        with suppress(queue.Empty):
            while True:
                self._backlog.append(self._handed.get_nowait())
        rows: list[OutboxRow] = []
        most = self._state.settings.publish_window
        while self._backlog and len(rows) < most:
            held_until, waiting = self._backlog.popleft()
            if time.monotonic() > held_until:
                continue
            left = most - len(rows)
            rows += waiting[:left]
            if waiting[left:]:
                self._backlog.appendleft((held_until, waiting[left:]))
        return rows

    def _give_back(self) -> None:
        """Nothing can be published now: whoever can first shall have the backlog."""
        waiting = [row.id for _, rows in self._backlog for row in rows]
        self._backlog.clear()
        if waiting:
            with self._database.begin() as connection:
                now = self._database.now(connection)
                outbox.release(
                    connection, waiting, why=self.error, now=now, owner=self._owner
                )

    def _claimed(self) -> list[OutboxRow]:
        settings = self._state.settings
        with self._database.begin() as connection:
            return outbox.claim(
                connection,
                now=self._database.now(connection),
                owner=self._owner,
                lease_seconds=settings.publish_lease_seconds,
                limit=settings.publish_window,
            )

    def _publish(self, rows: Sequence[OutboxRow]) -> bool:
        messages, unspeakable = self._messages(rows)
        started = time.monotonic()
        report = tracing.send(self._publisher.publish, messages)
        if report.returned:
            self._declare_again()
        self._record(report, unspeakable)
        self.published += len(report.confirmed)
        self._note(report, time.monotonic() - started)
        return report.error is None

    def _messages(
        self, rows: Sequence[OutboxRow]
    ) -> tuple[list[OutboundMessage], dict[str, str]]:
        """Messages to send, and reasons by run id where there can be none."""
        messages, unspeakable = {}, {}
        now = self._now() if any(row.deadline_at for row in rows) else None
        for row in rows:
            try:
                messages[row.id] = message_of(row, self._state, now)
            except (InvalidMessage, BrokerError, TypeError, ValueError) as error:
                unspeakable[row.id] = str(error)
        return list(messages.values()), unspeakable

    def _now(self) -> datetime:
        with self._database.read() as connection:
            return self._database.now(connection)

    def _record(self, report: PublishReport, unspeakable: dict[str, str]) -> None:
        refused = dict.fromkeys(report.nacked, "the broker refused it (nack)")
        returned = report.returned | unspeakable
        with self._database.begin() as connection:
            mine: dict[str, Any] = {
                "now": self._database.now(connection),
                "owner": self._owner,
            }
            outbox.record_published(connection, report.confirmed, **mine)
            outbox.release(connection, report.unknown, why=report.error, **mine)
            outbox.record_refused(connection, refused, unroutable=False, **mine)
            outbox.record_refused(connection, returned, unroutable=True, **mine)
            counters.add(connection, self._failures_in(report, returned))

    def _failures_in(
        self, report: PublishReport, returned: Mapping[str, str]
    ) -> counters.Sums:
        numbers = {
            "unknown": len(report.unknown),
            "nacked": len(report.nacked),
            "returned": len(returned),
        }
        name = counters.PUBLISH_FAILURES
        return Counter(
            {
                counters.CounterKey(name, self._owner, reason): number
                for reason, number in numbers.items()
            }
        )

    def _declare_again(self) -> None:
        """Somebody took a lane's queue or binding away: put it back."""
        try:
            self._state.topology.apply(self._state.broker_url())
        except BrokerError as error:
            logger.error("The topology cannot be restored: %s", error)

    def _note(self, report: PublishReport, seconds: float) -> None:
        if report.error is None:
            if self._failures:
                logger.warning("Publishing works again.")
            self._failures, self.error = 0, None
            return
        self._failures += 1
        self.error = report.error
        if self._failures in (1, 10) or self._failures % 60 == 0:
            logger.error(
                "Publishing fails (try %d, %.1f s): %s",
                self._failures,
                seconds,
                report.error,
            )

    def _pause(self) -> None:
        pause = min(0.1 * 2**self._failures, LONGEST_BACKOFF_SECONDS)
        self._stopping.wait(pause)
