"""Publishes batches of runs and reports what became of each."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from metronome_broker.confirms import ConfirmWindow, Settled
from metronome_broker.errors import BrokerError, InvalidMessage
from metronome_broker.message import OutboundMessage
from metronome_broker.wire import Wire

log = logging.getLogger(__name__)

#: What a guard waits beyond the deadline that reads and writes keep themselves.
_GUARD_MARGIN_SECONDS = 0.25
_CLOSE_SECONDS = 0.8
_PROBE_SECONDS = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishReport:
    """What became of each message of a batch; each run id is in one place.

    Attributes:
        confirmed: the broker has it, in a queue, on disk.
        nacked: the broker refused it, for instance a full queue.
        returned: it reached no queue, with the broker's reason.
        unknown: no answer; it may or may not have been delivered. Publish it again
            under the same id.
        error: one sentence why there are unknown ones, else None.
    """

    confirmed: frozenset[str] = field(default_factory=frozenset)
    nacked: frozenset[str] = field(default_factory=frozenset)
    returned: dict[str, str] = field(default_factory=dict)
    unknown: frozenset[str] = field(default_factory=frozenset)
    error: str | None = None


class Publisher:
    """One connection, one channel in confirm mode, a window of unconfirmed messages.

    Not ``amqp``'s ``basic_publish_confirm``, which takes any ack for this message's
    ack; not kombu's ``retry=``, which publishes again unseen. After anything but a
    full set of answers channel and connection are dropped, so that a late answer
    cannot be taken for another message's; the next batch connects anew.

    One batch at a time; ``close`` and ``blocked`` may be used from other threads.

    Args:
        url: ``amqp://`` or ``amqps://``; several parted by ``;`` are tried in turn,
            one a batch.
        window: most messages unconfirmed at any time.
        confirm_timeout: seconds from the first send until everything is answered.
        connect_timeout: seconds to connect and log in.
        client_name: the connection's name in RabbitMQ's management pages.

    Raises:
        BrokerError: the URL is not an AMQP one.
    """

    def __init__(
        self,
        url: str,
        *,
        window: int = 200,
        confirm_timeout: float = 5.0,
        connect_timeout: float = 4.0,
        client_name: str = "metronome-beat",
    ) -> None:
        if window < 1:
            raise ValueError(f"window must be at least 1, not {window!r}")
        self._urls = url.split(";")
        self._limit = window
        self._confirm_timeout = confirm_timeout
        self._connect_timeout = connect_timeout
        self._client_name = client_name
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._blocked = threading.Event()
        # Of this connection alone: a new one has not been told yet, and is told
        # only once it sends.
        self._held = False
        self._wire: Wire | None = None
        self._channel: Any = None
        self._window = ConfirmWindow()
        for each in self._urls:
            Wire(each, name=client_name)

    @property
    def blocked(self) -> bool:
        """Whether the broker was last heard refusing publishes (an alarm).

        Stays true over a reconnect, since a broker says so only after a publish.
        """
        return self._blocked.is_set()

    def publish(self, messages: Sequence[OutboundMessage]) -> PublishReport:
        """Publishes all and waits for the answers, as long as the timeouts say.

        Never raises for the broker's troubles; see ``PublishReport.error``.

        Raises:
            InvalidMessage: two messages have the same run id, so a return could
                not be told apart.
        """
        keys = frozenset(message.run_id for message in messages)
        if len(keys) != len(messages):
            raise InvalidMessage("a batch must hold each run_id once, not twice")
        if not keys:
            return PublishReport()
        with self._lock:
            return self._publish(messages, keys)

    def _publish(
        self, messages: Sequence[OutboundMessage], keys: frozenset[str]
    ) -> PublishReport:
        error = None
        try:
            wire = self._connected()
            with wire.guarded(
                self._confirm_timeout + _GUARD_MARGIN_SECONDS, "publishing"
            ):
                self._send(wire, messages)
        except Exception as exc:
            # Whatever broke, the outcome is the same: unanswered means unknown.
            log.debug("publishing failed", exc_info=True)
            error = self._sentence(exc)
        settled = self._window.settle()
        if error is not None:
            self._drop()
        return _report(settled, keys, error)

    def _sentence(self, exc: Exception) -> str:
        if self._closed.is_set():
            return "the publisher was closed"
        if self.blocked:
            return (
                "broker has blocked publishing (memory or disk alarm) and did not "
                f"resume within {self._confirm_timeout:g} s"
            )
        if isinstance(exc, TimeoutError):
            return (
                f"broker left {self._window.outstanding} sent messages unanswered "
                f"for {self._confirm_timeout:g} s"
            )
        return str(exc) or type(exc).__name__

    def _connected(self) -> Wire:
        if self._wire is not None and not self._alive(self._wire):
            self._drop()
        if self._wire is None:
            self._connect()
        if self._closed.is_set() or self._wire is None:
            raise BrokerError("the publisher was closed")
        return self._wire

    def _alive(self, wire: Wire) -> bool:
        """Reads what came while idle: a broker that restarted has said goodbye."""
        try:
            with wire.guarded(_PROBE_SECONDS, "looking for a goodbye"):
                while True:
                    wire.connection.drain_events(timeout=0)
        except TimeoutError:
            return True
        except Exception as exc:
            log.debug("the idle connection is gone: %s", exc)
            return False

    def _connect(self) -> None:
        # Next in turn for the next attempt, should this one fail.
        url = self._urls[0]
        self._urls = [*self._urls[1:], url]
        wire = self._wire = Wire(
            url,
            name=self._client_name,
            on_blocked=self._on_blocked,
            on_unblocked=self._on_unblocked,
        )
        self._held = False
        if self._closed.is_set():
            return
        wire.open(self._connect_timeout)
        with wire.guarded(self._connect_timeout, "opening a channel"):
            self._channel = wire.connection.channel()
            self._channel.confirm_select()
        self._window = ConfirmWindow()
        events = self._channel.events
        events["basic_ack"].add(self._window.on_ack)
        events["basic_nack"].add(self._window.on_nack)
        events["basic_return"].add(self._on_return)
        self._urls = [url, *self._urls[:-1]]

    def _on_blocked(self) -> None:
        self._held = True
        self._blocked.set()

    def _on_unblocked(self) -> None:
        self._held = False
        self._blocked.clear()

    def _on_return(
        self, reason: Exception, exchange: str, routing_key: str, message: Any
    ) -> None:
        code = getattr(reason, "reply_code", "")
        text = getattr(reason, "reply_text", reason)
        self._window.on_return(
            str(message.properties.get("message_id", "")),
            f"{text} ({code}): no queue takes {routing_key!r} from {exchange!r}",
        )

    def _send(self, wire: Wire, messages: Sequence[OutboundMessage]) -> None:
        end = time.monotonic() + self._confirm_timeout
        for message in messages:
            while self._held or self._window.outstanding >= self._limit:
                self._read(wire, end)
            self._window.sent(message.run_id)
            self._channel.basic_publish(
                message.to_amqp(),
                exchange=message.exchange,
                routing_key=message.routing_key,
                mandatory=True,
                timeout=_left(end),
            )
        while self._window.outstanding:
            self._read(wire, end)
        self._blocked.clear()

    def _read(self, wire: Wire, end: float) -> None:
        if self._closed.is_set():
            raise BrokerError("the publisher was closed")
        # One frame a time, so that heartbeats cannot renew the deadline.
        wire.connection.blocking_read(_left(end))

    def _drop(self) -> None:
        wire, self._wire, self._channel = self._wire, None, None
        if wire is not None:
            wire.abandon()

    def close(self) -> None:
        """Ends the connection, within a second, also during a publish.

        A publish that is under way ends with what is unanswered as unknown; later
        ones report everything as unknown.
        """
        self._closed.set()
        if not self._lock.acquire(timeout=0):
            wire = self._wire
            if wire is not None:
                wire.cut()
            if not self._lock.acquire(timeout=_CLOSE_SECONDS):
                return  # it is still resolving a name, and drops the wire itself
        try:
            wire, self._wire, self._channel = self._wire, None, None
            if wire is not None:
                wire.close()
        finally:
            self._lock.release()


def _left(end: float) -> float:
    left = end - time.monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    return left


def _report(settled: Settled, keys: frozenset[str], error: str | None) -> PublishReport:
    answered = settled.confirmed | settled.nacked | settled.returned.keys()
    return PublishReport(
        confirmed=settled.confirmed,
        nacked=settled.nacked,
        returned=settled.returned,
        unknown=keys - answered,
        error=error,
    )
