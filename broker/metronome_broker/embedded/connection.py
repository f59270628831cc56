"""One client connection: its stage, its channels, and what ends it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from amqp import spec

from metronome_broker.embedded.broker import Broker
from metronome_broker.embedded.channel_table import ChannelTable
from metronome_broker.embedded.errors import AmqpError
from metronome_broker.embedded.faults import Faults
from metronome_broker.embedded.greeting import LOCALES, MECHANISMS, SERVER_PROPERTIES
from metronome_broker.embedded.heartbeat import Heartbeat
from metronome_broker.embedded.link import Link
from metronome_broker.embedded.stage import Stage
from metronome_broker.embedded.vhost import Vhost
from metronome_broker.embedded.wire import (
    FRAME_MAX,
    HEARTBEAT,
    METHOD,
    PROTOCOL_HEADER,
    Frame,
    FrameReader,
    Signature,
    content_frames,
    method_frame,
    short,
    signature_of,
)

log = logging.getLogger(__name__)

#: Seconds a client may take from connecting to connection.open.
HANDSHAKE_SECONDS = 10.0
#: Seconds a client has to answer connection.close.
CLOSE_SECONDS = 2.0
#: Unread bytes kept of a client whose publishing is blocked.
BLOCKED_BYTES = 1024 * 1024
#: Channels a client may have open, by their numbers.
CHANNEL_MAX = 2047
NO_SIGNATURE: Signature = (0, 0)

Dispatch = Callable[["Connection", Frame, Signature], None]


class Connection:
    """The AMQP conversation over one link.

    Attributes:
        channels: those that are open.
        client_properties: what the client said about itself.
        frame_max: negotiated, bytes.
    """

    def __init__(
        self,
        broker: Broker,
        link: Link,
        *,
        dispatch: Dispatch,
        on_gone: Callable[[Connection], None],
    ) -> None:
        self.broker = broker
        self.link = link
        self.loop: asyncio.AbstractEventLoop = broker.loop
        self.stage = Stage.HEADER
        self.user = ""
        self.client_properties: Mapping[str, Any] = {}
        self.channels = ChannelTable(self, channel_max=CHANNEL_MAX)
        self.frame_max = FRAME_MAX
        self.heartbeat = Heartbeat(link, self.loop, 0)
        self.reader = FrameReader()
        self._vhost: Vhost | None = None
        self._dispatch = dispatch
        self._on_gone = on_gone
        self._held: Callable[[], None] | None = None
        self._limit = self.loop.call_later(HANDSHAKE_SECONDS, link.abort)

    @property
    def faults(self) -> Faults:
        """The scripted faults that are on."""
        return self.broker.faults

    @property
    def vhost(self) -> Vhost:
        """The vhost that connection.open named."""
        assert self._vhost is not None
        return self._vhost

    @property
    def vhost_name(self) -> str:
        """Its name, empty before connection.open."""
        return "" if self._vhost is None else self._vhost.name

    @property
    def deliverable(self) -> bool:
        """True when messages may be sent to this client now."""
        ready = self.stage is Stage.RUNNING and self.link.open
        return ready and not self.link.slow and not self.faults.frozen

    def capability(self, name: str) -> bool:
        """Whether the client said that it understands ``name``."""
        capabilities = self.client_properties.get("capabilities")
        return isinstance(capabilities, dict) and capabilities.get(name) is True

    # -- sending

    def send(
        self,
        channel: int,
        signature: Signature,
        layout: str = "",
        values: Sequence[object] = (),
    ) -> None:
        """Send a method."""
        self.link.write([method_frame(channel, signature, layout, values)])

    def send_content(self, channel: int, properties: bytes, body: bytes) -> None:
        """Send the content that follows a method."""
        self.link.write(content_frames(channel, properties, body, self.frame_max))

    def send_blocked(self, reason: str) -> None:
        """Tell a client that asked to know about an alarm, or its end if empty."""
        if self.stage is not Stage.RUNNING or not self.capability("connection.blocked"):
            return
        if reason:
            self.send(0, spec.Connection.Blocked, "s", (short(reason),))
        else:
            self.send(0, spec.Connection.Unblocked)

    # -- stages

    def open_vhost(self, vhost: Vhost) -> None:
        """End the handshake: this is what the client wants to work in."""
        self._vhost = vhost
        self._limit.cancel()
        self.stage = Stage.RUNNING
        if self.faults.blocked:
            self.send_blocked(self.faults.blocked)

    def close(self, error: AmqpError, cause: Signature = NO_SIGNATURE) -> None:
        """Send connection.close and hang up when the client agrees or takes too long.

        Args:
            error: what to say.
            cause: the method that was wrong.
        """
        if self.stage in (Stage.CLOSING, Stage.GONE):
            return
        self.send(0, spec.Connection.Close, "BsBB", _reason(error, cause))
        self.stage = Stage.CLOSING
        self._release()
        self._limit.cancel()
        self._limit = self.loop.call_later(CLOSE_SECONDS, self.link.abort)

    def leave(self) -> None:
        """Hang up after what is queued was written."""
        self.stage = Stage.GONE
        self._release()
        self.link.close()

    # -- publishing under an alarm

    def admit_publish(self, channel: int, publish: Callable[[], None]) -> None:
        """Publish, or stop reading from this client until an alarm is over."""
        if self.faults.blocked:
            self._held = lambda: self._attempt(channel, spec.Basic.Publish, publish)
        else:
            publish()

    def forget_channel(self, number: int) -> None:
        """End a channel, without a word to the client."""
        self.channels.forget(number)

    def freeze(self) -> None:
        """Neither read nor write until ``resume``."""
        self.heartbeat.paused = True
        self.link.freeze()

    def resume(self) -> None:
        """Go on after a fault ended, as far as no other is on."""
        if self.faults.frozen or self.stage is Stage.GONE:
            return
        self.heartbeat.paused = False
        self.link.thaw()
        if self._held is not None and not self.faults.blocked:
            held, self._held = self._held, None
            held()
        self._read()
        self.link_drained()

    # -- what the link says

    def bytes_received(self, data: bytes) -> None:
        """Take what came in."""
        self.reader.feed(data)
        self._read()
        if self._held is not None and len(self.reader) > BLOCKED_BYTES:
            self.link.pause_reading()

    def link_drained(self) -> None:
        """Deliver again to a client that caught up."""
        for channel in self.channels.open_channels():
            channel.pump()

    def link_lost(self) -> None:
        """Give everything back that this client held."""
        self.stage = Stage.GONE
        self._limit.cancel()
        self._on_gone(self)
        self._release()

    def _read(self) -> None:
        if self.stage is Stage.HEADER and not self._read_header():
            return
        while self._may_read():
            try:
                frame = self.reader.next()
            except AmqpError as error:
                # Where the next frame starts can no longer be known.
                self.reader = FrameReader()
                self.close(error)
                return
            if frame is None:
                return
            self._take(frame)

    def _may_read(self) -> bool:
        gone = self.stage is Stage.GONE
        return not gone and not self.faults.frozen and not self._held

    def _read_header(self) -> bool:
        right = self.reader.take_protocol_header()
        if right:
            self._greet()
        elif right is False:
            self.link.write([PROTOCOL_HEADER])
            self.leave()
        return bool(right)

    def _greet(self) -> None:
        said = (0, 9, SERVER_PROPERTIES, MECHANISMS, LOCALES)
        self.send(0, spec.Connection.Start, "ooFSS", said)
        self.stage = Stage.START

    def _take(self, frame: Frame) -> None:
        if frame.kind == HEARTBEAT:
            self._attempt(0, NO_SIGNATURE, lambda: _check_heartbeat(frame))
            return
        cause: Signature = spec.Basic.Publish
        if frame.kind == METHOD:
            cause = signature_of(frame.payload)
        self._attempt(frame.channel, cause, lambda: self._dispatch(self, frame, cause))

    def _attempt(
        self, number: int, cause: Signature, action: Callable[[], None]
    ) -> None:
        try:
            action()
        except AmqpError as error:
            if error.closes_connection or number == 0:
                self.close(error, cause)
            else:
                self.channels.close(number, _reason(error, cause))
        except Exception:
            # One client must not take the broker down for the others.
            log.exception("connection from %s failed in %s", self.link.peer, cause)
            self.close(AmqpError(541, "the embedded broker failed, see its log"))

    def _release(self) -> None:
        self.heartbeat.stop()
        self._held = None
        self.channels.clear()
        if self._vhost is not None:
            self._vhost.delete_queues_of(self)


def _check_heartbeat(frame: Frame) -> None:
    if frame.channel:
        raise AmqpError(505, "heartbeat frame on a channel")
    if frame.payload:
        raise AmqpError(501, "heartbeat frame with a payload")


def _reason(error: AmqpError, cause: Signature) -> tuple[int, str, int, int]:
    return (error.code, short(error.text), *cause)
