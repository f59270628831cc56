"""A scripted AMQP peer on a loopback socket, and a publisher that talks to it."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from typing import Any

import amqp
from amqp import spec
from amqp.serialization import dumps

from metronome_broker import (
    OutboundMessage,
    Publisher,
)

METHOD, HEADER, BODY = 1, 2, 3


class Peer:
    """One connection of the scripted broker."""

    def __init__(self, sock: socket.socket, script: Script) -> None:
        self._sock = sock
        self._file = sock.makefile("rb")
        self._script = script
        self.published: list[str] = []
        self.content: list[tuple[int, bytes]] = []

    def raw(self, data: bytes) -> None:
        self._sock.sendall(data)

    def method(
        self, signature: tuple[int, int], form: str = "", *values: Any, channel: int = 1
    ) -> None:
        arguments = dumps(form, values) if form else b""
        self.frame(METHOD, struct.pack(">HH", *signature) + arguments, channel)

    def frame(self, kind: int, payload: bytes, channel: int = 1) -> None:
        head = struct.pack(">BHI", kind, channel, len(payload))
        self.raw(head + payload + b"\xce")

    def ack(self, tag: int, multiple: bool = False) -> None:
        self.method(spec.Basic.Ack, "Lb", tag, multiple)

    def nack(self, tag: int, multiple: bool = False) -> None:
        self.method(spec.Basic.Nack, "Lb", tag, multiple)

    def give_back(self) -> None:
        """basic.return of the message that came last."""
        self.method(spec.Basic.Return, "Bsss", 312, "NO_ROUTE", "x", "y")
        for kind, payload in self.content:
            self.frame(kind, payload)

    def hang_up(self) -> None:
        self._sock.shutdown(socket.SHUT_RDWR)

    def serve(self) -> None:
        self._file.read(8)
        self.method(
            spec.Connection.Start, "ooFSS", 0, 9, {}, "PLAIN", "en_US", channel=0
        )
        while (frame := self._read()) is not None:
            kind, payload = frame
            if kind == METHOD:
                self._answer(struct.unpack(">HH", payload[:4]))
            elif kind in (HEADER, BODY):
                self._take(kind, payload)

    def _read(self) -> tuple[int, bytes] | None:
        head = self._file.read(7)
        if len(head) < 7:
            return None
        kind, _channel, size = struct.unpack(">BHI", head)
        return kind, self._file.read(size + 1)[:-1]

    def _answer(self, signature: tuple[int, ...]) -> None:
        if signature == spec.Connection.StartOk:
            self.method(spec.Connection.Tune, "BlB", 10, 131072, 0, channel=0)
        elif signature == spec.Connection.Open:
            self.method(spec.Connection.OpenOk, "s", "", channel=0)
        elif signature == spec.Channel.Open:
            self.method(spec.Channel.OpenOk, "S", "")
        elif signature == spec.Confirm.Select:
            self.method(spec.Confirm.SelectOk)
        elif signature == spec.Connection.Close:
            self.method(spec.Connection.CloseOk, channel=0)

    def _take(self, kind: int, payload: bytes) -> None:
        if kind == HEADER:
            self.content = [(kind, payload)]
            return
        self.content.append((kind, payload))
        message = amqp.Message()
        message.inbound_header(self.content[0][1])
        self.published.append(message.properties.get("message_id", ""))
        self._script(self, len(self.published))


Script = Callable[[Peer, int], None]


class Broker:
    """Listens on loopback and plays a script on each publish of each connection."""

    def __init__(self, script: Script, *, mute: bool = False) -> None:
        self._script = script
        self._mute = mute
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.peers: list[Peer] = []
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def url(self) -> str:
        return f"amqp://user:pass-word@127.0.0.1:{self.port}//"

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                self._sockets.append(sock)
                if self._mute:
                    continue
                peer = Peer(sock, self._script)
                self.peers.append(peer)
                thread = threading.Thread(target=self._serve, args=(peer,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _serve(self, peer: Peer) -> None:
        with contextlib.suppress(OSError):
            peer.serve()

    def close(self) -> None:
        for sock in (self._listener, *self._sockets):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        for thread in self._threads:
            thread.join(2)
        for peer in self.peers:
            peer._file.close()


Play = Callable[..., tuple[Broker, Publisher]]


def runs(*names: str) -> list[OutboundMessage]:
    return [
        OutboundMessage(run_id=name, exchange="x", routing_key="y", body=b"{}")
        for name in names
    ]


def silent(_peer: Peer, _number: int) -> None:
    """Takes messages and never answers."""


def acking(peer: Peer, number: int) -> None:
    peer.ack(number)
