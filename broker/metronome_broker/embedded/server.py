"""The embedded broker as one object: start it, use its URLs, make it fail, stop it.

It is for development, demo and scripted-fault tests only: one process, in memory,
loopback only. Losing its memory loses no run, as SQL publishes again.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import threading
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote

from metronome_broker.embedded.broker import Broker
from metronome_broker.embedded.errors import EmbeddedBrokerError, NotLoopback
from metronome_broker.embedded.faults import Fault
from metronome_broker.embedded.listener import Listener
from metronome_broker.embedded.management import Management

log = logging.getLogger(__name__)

T = TypeVar("T")
#: Seconds that starting, stopping and a call from another thread may take.
CALL_SECONDS = 10.0
SHORTEST_WAIT = 0.05


class EmbeddedBroker:
    """An AMQP 0-9-1 server on a loopback address, with a management API.

    Every vhost exists as soon as a client opens it, so each test can use its own.

    Args:
        host: a loopback address or ``localhost``.
        port: AMQP port; 0 for any free one, found out and kept by ``start``.
        management_port: HTTP port; 0 likewise.
        user: the only user.
        password: its password.

    Raises:
        NotLoopback: ``host`` is reachable from other machines.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        management_port: int = 0,
        *,
        user: str = "guest",
        password: str = "guest",
    ) -> None:
        if not is_loopback(host):
            raise NotLoopback(host)
        # A hosts file could send the name elsewhere.
        self.host = "127.0.0.1" if host == "localhost" else host
        self.port = port
        self.management_port = management_port
        self.user = user
        self._password = password
        self._listener: Listener | None = None
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._ready = threading.Event()
        self._failure: BaseException | None = None

    @property
    def url(self) -> str:
        """AMQP URL of vhost ``/``; known once it runs."""
        return self.url_of("/")

    def url_of(self, vhost: str) -> str:
        """AMQP URL of a vhost, which need not exist yet."""
        return f"amqp://{self._login}@{self._at(self.port)}/{quote(vhost, safe='')}"

    @property
    def api_url(self) -> str:
        """Management API URL with the credentials in it, as Flower takes it."""
        return f"http://{self._login}@{self._at(self.management_port)}/api/"

    def start(self) -> Self:
        """Run in a thread of its own; returns when clients can connect.

        Raises:
            EmbeddedBrokerError: it runs already, or a port cannot be had.
        """
        if self._thread is not None:
            raise EmbeddedBrokerError("embedded broker runs already")
        self._ready.clear()
        self._failure = None
        self._thread = threading.Thread(
            target=self._run, name="metronome-embedded-broker", daemon=True
        )
        self._thread.start()
        started = self._ready.wait(CALL_SECONDS)
        if self._failure is not None or not started:
            self._thread = None
            why = self._failure or f"not started within {CALL_SECONDS} s"
            raise EmbeddedBrokerError(
                f"embedded broker cannot listen on {self.host}: {why}"
            ) from self._failure
        return self

    def stop(self) -> None:
        """Cut every connection, forget everything, end the thread."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        if self._loop is not None and self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
        thread.join(CALL_SECONDS)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def inject(self, fault: Fault) -> dict[str, Any]:
        """Start or end scripted faults; answers what is on now.

        Raises:
            EmbeddedBrokerError: the broker does not run.
        """

        def apply() -> dict[str, Any]:
            listener = self._running()
            listener.inject(fault)
            return listener.broker.faults.as_json()

        return self._call(apply)

    async def serve(
        self,
        *,
        idle_exit: float | None = None,
        on_listening: Callable[[], None] | None = None,
    ) -> None:
        """Serve on the running loop until cancelled.

        Args:
            idle_exit: seconds without any connection after which to return.
            on_listening: called once, when clients can connect.
        """
        async with self.listening() as listener:
            if on_listening is not None:
                on_listening()
            if idle_exit is None:
                await asyncio.Event().wait()
                return
            # No event to wait for: being idle is that none comes.
            while (left := idle_exit - listener.idle_seconds) > 0:  # noqa: ASYNC110
                await asyncio.sleep(max(left, SHORTEST_WAIT))

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[Listener]:
        """Both ports open on the running loop for as long as the block lasts."""
        loop = asyncio.get_running_loop()
        listener = Listener(Broker(loop, user=self.user, password=self._password))
        amqp = await loop.create_server(listener.accept, self.host, self.port)
        try:
            self.port = _port_of(amqp)
            management = Management(listener)
            http = await management.listen(self.host, self.management_port)
            self.management_port = _port_of(http)
            self._listener = listener
            try:
                yield listener
            finally:
                http.close()
        finally:
            self._listener = None
            amqp.close()
            for connection in list(listener.connections):
                connection.link.abort()
            # One turn of the loop for the sockets to close.
            await asyncio.sleep(0)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve_until_stopped())
        except BaseException as error:
            if self._ready.is_set():
                log.exception("embedded broker ended")
            self._failure = error
        finally:
            self._ready.set()

    async def _serve_until_stopped(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        async with self.listening():
            self._ready.set()
            await self._stop.wait()

    def _call(self, action: Callable[[], T]) -> T:
        if self._loop is None or self._thread is None:
            raise EmbeddedBrokerError("embedded broker does not run")

        async def act() -> T:
            return action()

        future = asyncio.run_coroutine_threadsafe(act(), self._loop)
        return future.result(CALL_SECONDS)

    def _running(self) -> Listener:
        if self._listener is None:
            raise EmbeddedBrokerError("embedded broker does not run")
        return self._listener

    @property
    def _login(self) -> str:
        return f"{quote(self.user, safe='')}:{quote(self._password, safe='')}"

    def _at(self, port: int) -> str:
        return f"[{self.host}]:{port}" if ":" in self.host else f"{self.host}:{port}"


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach ``host``; names but localhost are not."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _port_of(server: asyncio.Server) -> int:
    port: int = server.sockets[0].getsockname()[1]
    return port
