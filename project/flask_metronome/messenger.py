"""The messenger: sends what lies in the outbox of notifications and events.

Threads in the monitor's process, one a channel. They hold no lock and no transaction
while they send, so that a slow mail server holds up neither a sweep nor another
monitor, and no other channel.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import datetime

from flask_metronome.channels import channels_of
from flask_metronome.core.run import iso_utc
from flask_metronome.database import Database, is_disconnect
from flask_metronome.settings import Settings
from flask_metronome.state import State
from flask_metronome.store import message_outbox
from flask_metronome.store.message_outbox import EVENT, NOTICE, Message
from flask_metronome.store.telling import Telling
from metronome_broker import OutboundMessage, Publisher
from metronome_monitoring.notify.channel import Channel, Notification, NotSent

_log = logging.getLogger(__name__)

#: Seconds between two looks at the outbox.
POLL_SECONDS = 1.0
#: A message claimed by a monitor that died is sent by another after this.
LEASE_SECONDS = 60.0
#: A slow channel must not keep claimed what it does not come to in time.
_BATCH = 1
_EVENT_BATCH = 200


def events_of(settings: Settings) -> Telling:
    """What is told by events alone, and to nobody in person."""
    public = settings.public_url
    return Telling(
        events=settings.events,
        pages_url=public.rstrip("/") + settings.url_prefix if public else None,
    )


def telling_of(settings: Settings) -> Telling:
    """Whom the settings say to tell, and what.

    :raises SettingInvalid: a channel is set up wrong.
    """
    ids = tuple(channel.id for channel in channels_of(settings))
    return replace(events_of(settings), channels=ids)


class Messenger:
    """Sends the notifications of a channel, one after the other.

    :param channel: where to.
    :param others: ids of channels that somebody else sends to; what is for a
        channel that is neither is given up.
    """

    def __init__(
        self, database: Database, channel: Channel, *, others: Collection[str] = ()
    ) -> None:
        self._database = database
        self._channel = channel
        self._others = frozenset(others)

    def turn(self) -> int:
        """Send what is there to be sent; how many messages were tried."""
        with self._database.read() as connection:
            now = self._database.now(connection)
            # most looks find nothing: they must not stand in a beat's way
            if not message_outbox.is_due(
                connection, NOTICE, now=now, leave=self._others
            ):
                return 0
        with self._database.begin() as connection:
            now = self._database.now(connection)
            claimed = message_outbox.claim(
                connection,
                NOTICE,
                now=now,
                lease_seconds=LEASE_SECONDS,
                limit=_BATCH,
                leave=self._others,
            )
        for message in claimed:
            self._send(message, int(now.timestamp()))
        return len(claimed)

    def _send(self, message: Message, timestamp: int) -> None:
        channel = self._channel
        kind = message.destination.partition(":")[0]
        if message.destination != channel.id:
            why = "the channel is not set up any more"
            self._record_failed(message, kind, NotSent(why, final=True))
            return
        data = message.body["data"]
        notification = Notification(
            id=message.id,
            timestamp=timestamp,
            title=data["title"],
            text=data["text"],
            body=message.body,
        )
        try:
            channel.send(notification)
        except NotSent as error:
            self._record_failed(message, kind, error)
            return
        except Exception as error:
            # whatever a library throws must not keep the others waiting
            _log.exception("%s stumbled", channel.shown)
            self._record_failed(message, kind, NotSent(type(error).__name__))
            return
        with self._database.begin() as connection:
            now = self._database.now(connection)
            message_outbox.record_sent(connection, [message.id], now=now)
            message_outbox.count(connection, kind, "sent")

    def _record_failed(self, message: Message, kind: str, error: NotSent) -> None:
        _log.warning("a notification was not sent (%s): %s", message.type, error)
        with self._database.begin() as connection:
            given_up = message_outbox.record_failed(
                connection,
                message,
                why=str(error),
                now=self._database.now(connection),
                final=error.final,
            )
            outcome = "given_up" if given_up else "failed"
            message_outbox.count(connection, kind, outcome)


class EventPublisher:
    """Publishes events on the topic exchange, persistent and confirmed.

    One that nobody listens to is done with: the broker returned it.
    """

    def __init__(self, state: State) -> None:
        self._database = state.database
        self._exchange = state.topology.event_exchange
        self._publisher = Publisher(
            state.broker_url(),
            confirm_timeout=state.settings.confirm_timeout_seconds,
            client_name="metronome-events",
        )

    def turn(self) -> int:
        """Publish what is there to be published; how many were settled."""
        with self._database.begin() as connection:
            claimed = message_outbox.claim(
                connection,
                EVENT,
                now=self._database.now(connection),
                lease_seconds=LEASE_SECONDS,
                limit=_EVENT_BATCH,
            )
        if not claimed:
            return 0
        report = self._publisher.publish([self._outbound(each) for each in claimed])
        done = [*report.confirmed, *report.returned]
        with self._database.begin() as connection:
            now = self._database.now(connection)
            settled = message_outbox.record_sent(connection, done, now=now)
            left = [*report.unknown, *report.nacked]
            why = report.error or "the broker refused it (nack)"
            message_outbox.release(connection, left, why=why, now=now)
        if report.error:
            _log.warning("events wait for the broker: %s", report.error)
        return settled

    def close(self) -> None:
        """End the connection, also during a publish."""
        self._publisher.close()

    def _outbound(self, message: Message) -> OutboundMessage:
        return OutboundMessage(
            run_id=message.id,
            exchange=self._exchange,
            routing_key=message.destination,
            body=json.dumps(message.body, separators=(",", ":")).encode(),
            properties={"type": message.type, "app_id": "metronome"},
        )


class MessengerThreads:
    """The messengers of a monitor's process, as far as the settings need any."""

    def __init__(self, state: State) -> None:
        self._stop = threading.Event()
        self._events: EventPublisher | None = None
        self._threads: list[threading.Thread] = []
        channels = {channel.id: channel for channel in channels_of(state.settings)}
        for name, channel in channels.items():
            # each in a thread: one that is away or slow holds up no other
            messenger = Messenger(
                state.database, channel, others=channels.keys() - {name}
            )
            self._add(f"metronome-{channel.kind}", messenger.turn)
        if state.settings.events:
            self._events = EventPublisher(state)
            self._add("metronome-events", self._events.turn)

    def start(self) -> None:
        """Begin to send."""
        for thread in self._threads:
            thread.start()

    def stop(self, timeout_seconds: float = 3.0) -> None:
        """End within seconds; what is being sent may be sent again."""
        self._stop.set()
        if self._events is not None:
            self._events.close()
        ends = time.monotonic() + timeout_seconds
        for thread in self._threads:
            thread.join(max(0.0, ends - time.monotonic()))

    def _add(self, name: str, turn: Callable[[], int]) -> None:
        thread = threading.Thread(
            target=self._run, args=(turn,), name=name, daemon=True
        )
        self._threads.append(thread)

    def _run(self, turn: Callable[[], int]) -> None:
        while not self._stop.is_set():
            done = 0
            try:
                done = turn()
            except Exception as error:
                if not is_disconnect(error):
                    _log.exception("the messenger stumbled and goes on")
            if not done:
                self._stop.wait(POLL_SECONDS)


def trial_notification(channel: Channel, now: datetime) -> Notification:
    """What ``flask metronome notify test`` sends."""
    text = "If you can read this, notifications of Flask-Metronome reach you.\n"
    title = "[Metronome] A test"
    timestamp = int(now.timestamp())
    event_id = f"test-{channel.id.partition(':')[2]}-{timestamp}"
    data = {"title": title, "text": text}
    return Notification(
        id=event_id,
        timestamp=timestamp,
        title=title,
        text=text,
        body={
            "version": 1,
            "id": event_id,
            "type": "notification.test",
            "timestamp": iso_utc(now),
            "data": data,
        },
    )
