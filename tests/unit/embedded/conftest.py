"""An embedded broker for all of these tests, a vhost for each."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import amqp
import pytest

from metronome_broker.embedded import EmbeddedBroker

SECONDS = 10.0

Connect = Callable[..., Any]


class Inbox:
    """What a consumer received, in order."""

    def __init__(self, channel: Any, queue: str, **options: Any) -> None:
        self.channel = channel
        self.messages: list[Any] = []
        self.tag = channel.basic_consume(
            queue, callback=self.messages.append, **options
        )

    def next(self, seconds: float = SECONDS) -> Any:
        """The next message; raises TimeoutError when none comes."""
        while not self.messages:
            self.channel.connection.drain_events(timeout=seconds)
        return self.messages.pop(0)

    def nothing(self) -> bool:
        """Whether nothing more was sent before the answer to a later question."""
        self.channel.queue_declare("inbox-barrier", auto_delete=False)
        return not self.messages


@pytest.fixture(scope="session")
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as running:
        yield running


@pytest.fixture
def vhost() -> str:
    return f"test-{uuid.uuid4().hex}"


@pytest.fixture
def connect(broker: EmbeddedBroker, vhost: str) -> Iterator[Connect]:
    """Opens connections to this test's vhost and closes them after it."""
    opened: list[Any] = []

    def open_connection(**options: Any) -> Any:
        connection = amqp.Connection(
            f"{broker.host}:{broker.port}",
            **{
                "virtual_host": vhost,
                "read_timeout": SECONDS,
                "write_timeout": SECONDS,
                **options,
            },
        )
        opened.append(connection)
        connection.connect()
        return connection

    yield open_connection
    for connection in opened:
        with contextlib.suppress(OSError, amqp.exceptions.AMQPError):
            connection.close()
        connection.collect()


@pytest.fixture
def channel(connect: Connect) -> Any:
    return connect().channel()


@pytest.fixture
def inbox(channel: Any) -> Callable[..., Inbox]:
    """Consumes from a queue on the test's channel."""

    def consume(queue: str, **options: Any) -> Inbox:
        return Inbox(channel, queue, **options)

    return consume


@pytest.fixture
def declare(channel: Any) -> Callable[..., str]:
    """Declares a durable queue with the given arguments."""

    def declare_queue(name: str, arguments: dict[str, Any] | None = None) -> str:
        channel.queue_declare(
            name, durable=True, auto_delete=False, arguments=arguments
        )
        return name

    return declare_queue


@pytest.fixture
def put(channel: Any) -> Callable[..., None]:
    """Publishes a text, to a queue by its name unless an exchange is given."""

    def publish(
        routing_key: str, body: str = "x", exchange: str = "", **properties: Any
    ) -> None:
        channel.basic_publish(
            amqp.Message(body, **properties), exchange, routing_key=routing_key
        )

    return publish


@pytest.fixture
def bodies(channel: Any) -> Callable[[str], list[str]]:
    """Takes everything that is ready in a queue."""

    def take(queue: str) -> list[str]:
        found: list[str] = []
        while (message := channel.basic_get(queue, no_ack=True)) is not None:
            found.append(message.body)
        return found

    return take
