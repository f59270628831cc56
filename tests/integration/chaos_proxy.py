"""A TCP proxy in front of a broker, and what networks do to connections."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Any
from urllib.parse import urlsplit


class ChaosProxy:
    """Forwards to a broker until it is told to misbehave.

    ``url`` is the broker's, by way of the proxy.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname or "127.0.0.1", parts.port or 5672)
        self._server = socket.create_server(("127.0.0.1", 0))
        port = self._server.getsockname()[1]
        login = f"{parts.username}:{parts.password}"
        self.url = f"{parts.scheme}://{login}@127.0.0.1:{port}{parts.path}"
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._orphans: list[socket.socket] = []
        self._lock = threading.Lock()
        self._in_thread(self._accept)

    def half_open(self) -> int:
        """The clients are cut off; the broker is not told. How many there were.

        So it looks to a broker when a firewall forgets a connection.
        """
        with self._lock:
            pairs, self._pairs = self._pairs, []
            self._orphans += [upstream for _, upstream in pairs]
        for client, _ in pairs:
            _shut(client)
        return len(pairs)

    def give_up(self) -> None:
        """The broker notices, as its heartbeat would after a minute or two."""
        with self._lock:
            orphans, self._orphans = self._orphans, []
        for upstream in orphans:
            _shut(upstream)

    def close(self) -> None:
        """End every connection, and listen no more."""
        _shut(self._server)
        with self._lock:
            ends = [end for pair in self._pairs for end in pair] + self._orphans
        for end in ends:
            _shut(end)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._server.accept()
                upstream = socket.create_connection(self._target)
                with self._lock:
                    self._pairs.append((client, upstream))
                self._in_thread(self._pump, client, upstream)
                self._in_thread(self._pump, upstream, client)

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                sink.sendall(data)
        with self._lock:
            if source in self._orphans or sink in self._orphans:
                return
            self._pairs = [pair for pair in self._pairs if source not in pair]
        _shut(source)
        _shut(sink)

    def _in_thread(self, work: Any, *args: Any) -> None:
        threading.Thread(target=work, args=args, daemon=True).start()


def _shut(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
