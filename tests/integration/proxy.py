"""A TCP proxy that freezes or goes away: a server that does, as clients see it."""

from __future__ import annotations

import contextlib
import socket
import threading
from urllib.parse import urlsplit


class Proxy:
    """Between clients and the server of a URL, on loopback."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._url = url
        self._there = f"{parts.hostname}:{parts.port}"
        self._target = (parts.hostname or "127.0.0.1", parts.port or 0)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._flows = threading.Event()
        self._flows.set()
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    @property
    def url(self) -> str:
        """The server's URL, by way of here."""
        port = self._listener.getsockname()[1]
        return self._url.replace(self._there, f"127.0.0.1:{port}", 1)

    def freeze(self) -> None:
        """Take what comes, and the connections too, and answer nothing."""
        self._flows.clear()

    def thaw(self) -> None:
        """Go on as if nothing had been."""
        self._flows.set()

    def go_away(self) -> None:
        """Cut every connection and refuse new ones."""
        self._cut(self._listener)
        for each in self._sockets:
            self._cut(each)

    def close(self) -> None:
        self.go_away()
        self._flows.set()
        for thread in self._threads:
            thread.join(5)
        for each in (self._listener, *self._sockets):
            each.close()

    def _start(self, work: object, *args: socket.socket) -> None:
        thread = threading.Thread(target=work, args=args, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target, 10)
                server.settimeout(None)
                self._sockets += [client, server]
                self._start(self._pump, client, server)
                self._start(self._pump, server, client)

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self._flows.wait()
                sink.sendall(data)
        self._cut(sink)

    @staticmethod
    def _cut(each: socket.socket) -> None:
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
