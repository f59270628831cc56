"""The socket side of a connection: bytes in, bytes out, and when to stop either."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable
from typing import Protocol

#: Bytes waiting for a slow client above which it gets no more messages, ...
SLOW_CLIENT_BYTES = 1024 * 1024
#: ... and above which nothing more is read from it either.
DEAF_CLIENT_BYTES = 16 * 1024 * 1024


class Session(Protocol):
    """What the link serves: the AMQP conversation on top of it."""

    def bytes_received(self, data: bytes) -> None:
        """Take what came in."""

    def link_lost(self) -> None:
        """Learn that the socket is gone."""

    def link_drained(self) -> None:
        """Learn that a slow client caught up."""


class Link(asyncio.Protocol):
    """One TCP connection.

    Output is gathered and written once per turn of the loop, so that a burst of
    messages is one system call.

    Attributes:
        received_at: loop time of the last byte in.
        sent_at: loop time of the last byte out.
        peer: the client's address, for people.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.session: Session | None = None
        self.peer = ""
        self.received_at = self.sent_at = loop.time()
        self.slow = False
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._out: list[bytes] = []
        self._flush_due = False
        self._frozen = False

    @property
    def open(self) -> bool:
        """True while the socket takes bytes."""
        return self._transport is not None and not self._transport.is_closing()

    def write(self, chunks: Iterable[bytes]) -> None:
        """Queue bytes for the client."""
        self._out.extend(chunks)
        if not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._flush)

    def pause_reading(self) -> None:
        """Leave what the client sends in the sockets."""
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        if self._transport is not None and not self._frozen:
            self._transport.resume_reading()

    def freeze(self) -> None:
        """Stop reading and writing; what waits, waits."""
        self._frozen = True
        self.pause_reading()

    def thaw(self) -> None:
        """Go on where ``freeze`` stopped."""
        self._frozen = False
        self.resume_reading()
        self._flush()

    def close(self) -> None:
        """Write what is queued, then hang up."""
        self._flush()
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Hang up at once."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: the socket is accepted."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=SLOW_CLIENT_BYTES)
        host, port = transport.get_extra_info("peername")[:2]
        self.peer = f"{host}:{port}"
        raw = transport.get_extra_info("socket")
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._frozen:
            transport.pause_reading()

    def data_received(self, data: bytes) -> None:
        """asyncio: bytes came in."""
        self.received_at = self._loop.time()
        if self.session is not None:
            self.session.bytes_received(data)
        transport = self._transport
        if transport and transport.get_write_buffer_size() > DEAF_CLIENT_BYTES:
            transport.pause_reading()

    def pause_writing(self) -> None:
        """asyncio: the client does not keep up."""
        self.slow = True

    def resume_writing(self) -> None:
        """asyncio: it caught up."""
        self.slow = False
        self.resume_reading()
        if self.session is not None:
            self.session.link_drained()

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio: the socket is gone."""
        self._transport = None
        self._out.clear()
        if self.session is not None:
            self.session.link_lost()

    def _flush(self) -> None:
        self._flush_due = False
        if self._frozen or not self._out or not self.open:
            return
        data = b"".join(self._out)
        self._out.clear()
        self.sent_at = self._loop.time()
        assert self._transport is not None
        self._transport.write(data)
