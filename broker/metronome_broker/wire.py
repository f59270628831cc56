"""One AMQP connection that cannot block longer than it is told to."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from kombu import Connection
from kombu.transport import pyamqp

from metronome_broker.errors import BrokerError, BrokerUnreachable

log = logging.getLogger(__name__)

_SCHEMES = frozenset({"amqp", "amqps", "pyamqp"})
#: How often a guard that has fired cuts again: py-amqp goes on to the next
#: address of a host when connecting to one fails.
_CUT_AGAIN_SECONDS = 0.02
_CLOSE_SECONDS = 0.5


class _GuardedConnection(pyamqp.Connection):
    """Keeps its transport reachable while py-amqp is still shaking hands."""

    guarded_transport: Any = None

    def Transport(self, *args: Any, **kwargs: Any) -> Any:
        self.guarded_transport = super().Transport(*args, **kwargs)
        return self.guarded_transport


class Wire:
    """A connection whose every use ends within a deadline.

    Timeouts alone do not bound py-amqp: a frame that stops in the middle is read
    without one, and each address of a host gets its own. So while the wire is in
    use a guard thread waits, and at the deadline shuts the socket down, which
    ends any read or write at once.

    Args:
        target: an ``amqp://`` or ``amqps://`` URL, several parted by ``;``, or a
            kombu Connection, which is only read for its parameters.
        name: shown as the connection's name in RabbitMQ's management pages.
        on_blocked, on_unblocked: called without arguments when the broker stops
            and resumes taking publishes (memory or disk alarm).

    Raises:
        BrokerError: the target is not AMQP's.
    """

    def __init__(
        self,
        target: str | Connection,
        *,
        name: str,
        on_blocked: Callable[[], None] | None = None,
        on_unblocked: Callable[[], None] | None = None,
    ) -> None:
        if isinstance(target, str):
            # Before kombu sees it: it would import another transport's driver.
            _check_scheme(target.partition("://")[0])
            target = Connection(target)
        params = target
        _check_scheme(params.transport_cls)
        self.url = str(params.as_uri())
        tls = params.ssl or params.transport_cls == "amqps"
        port = pyamqp.DEFAULT_SSL_PORT if tls else pyamqp.DEFAULT_PORT
        self._cut = threading.Event()
        self._connection = _GuardedConnection(
            host=f"{params.hostname or '127.0.0.1'}:{params.port or port}",
            userid=params.userid or "guest",
            password=_password(params),
            login_method=params.login_method or "PLAIN",
            virtual_host=params.virtual_host or "/",
            ssl=tls,
            client_properties={"connection_name": name},
            on_blocked=lambda _reason: on_blocked() if on_blocked else None,
            on_unblocked=on_unblocked,
        )

    @property
    def connection(self) -> Any:
        """The py-amqp connection; use it only inside ``guarded``."""
        return self._connection

    def open(self, seconds: float) -> None:
        """Connects and logs in.

        Raises:
            BrokerUnreachable: not done within the seconds, or refused.
        """
        self._connection.connect_timeout = seconds
        try:
            with self.guarded(seconds, "connecting"):
                self._connection.connect()
        except self._connection.channel_errors as exc:
            # A refused login has a channel error's code, 403.
            raise BrokerUnreachable(self.url, exc) from exc
        except TimeoutError as exc:
            cause = f"no answer within {seconds:g} s while connecting"
            raise BrokerUnreachable(self.url, cause) from exc

    @contextlib.contextmanager
    def guarded(self, seconds: float, doing: str) -> Iterator[None]:
        """Cuts the wire if the block is not done after the seconds.

        Raises:
            BrokerUnreachable: the deadline passed, or the connection broke.
                Channel errors (AMQP 4xx on a channel) and the TimeoutError of a
                read that has a timeout of its own pass through.
        """
        done, late = threading.Event(), threading.Event()
        guard = threading.Thread(
            target=self._guard, args=(seconds, done, late), daemon=True
        )
        guard.start()
        try:
            yield
            if self._cut.is_set():
                raise OSError("connection cut")
        except (BrokerError, TimeoutError, *self._connection.channel_errors):
            raise
        except Exception as exc:
            # py-amqp raises nearly anything when a connection breaks under it
            # (AttributeError among them), so only the deadline tells the cause.
            cause = f"no answer within {seconds:g} s while {doing}"
            raise BrokerUnreachable(self.url, cause if late.is_set() else exc) from exc
        finally:
            done.set()

    def _guard(
        self, seconds: float, done: threading.Event, late: threading.Event
    ) -> None:
        if done.wait(seconds):
            return
        late.set()
        while not done.is_set():
            self.cut()
            done.wait(_CUT_AGAIN_SECONDS)

    def cut(self) -> None:
        """Shuts the socket down, from any thread, so that no use of it waits on."""
        self._cut.set()
        transport = self._connection.guarded_transport
        sock = getattr(transport, "sock", None)
        if sock is not None:
            # The plain socket's shutdown, also under TLS: TLS would say goodbye
            # to a peer that may not be listening.
            with contextlib.suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def abandon(self) -> None:
        """Drops the connection without a word to the broker."""
        self.cut()
        with contextlib.suppress(Exception):
            self._connection.collect()

    def close(self) -> None:
        """Says goodbye, within half a second, and drops the connection."""
        try:
            if self._connection.connected and not self._cut.is_set():
                with self.guarded(_CLOSE_SECONDS, "closing"):
                    self._connection.close()
        except Exception as exc:
            log.debug("closing the broker connection failed: %s", exc)
        self.abandon()


@contextlib.contextmanager
def open_wire(
    target: str | Connection, *, seconds: float, name: str
) -> Iterator[tuple[Wire, Callable[[], float]]]:
    """An open wire and a function that tells the seconds left of its time."""
    end = time.monotonic() + seconds
    wire = Wire(target, name=name)
    try:
        wire.open(seconds)
        yield wire, lambda: max(0.0, end - time.monotonic())
    finally:
        wire.close()


def _check_scheme(scheme: object) -> None:
    if scheme not in _SCHEMES:
        raise BrokerError(
            f"broker URL must start with amqp:// or amqps://, not {str(scheme)[:20]!r}:"
            " kombu's virtual transports lose tasks"
        )


def _password(params: Connection) -> Any:
    password = params.password or "guest"
    return password() if callable(password) else password
