"""An AMQP client for tests that a broker may refuse and go on serving."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from amqp import Message
from amqp.exceptions import AMQPError, ChannelError
from kombu import Connection

SECONDS = 20.0


class Client:
    """A connection whose channel is replaced when the broker closes it."""

    def __init__(self, url: str) -> None:
        options = {"read_timeout": SECONDS, "confirm_publish": True}
        self.kombu = Connection(url, transport_options=options)
        self.connection: Any = self.kombu.connection
        self.channel: Any = self.connection.channel()

    def close(self) -> None:
        with contextlib.suppress(OSError, AMQPError):
            self.connection.close()
        self.kombu.release()

    def queue(self, name: str, arguments: dict[str, Any] | None = None) -> str:
        self.channel.queue_declare(
            name, durable=True, auto_delete=False, arguments=arguments
        )
        return name

    def exchange(self, name: str, kind: str, **options: Any) -> str:
        options = {"durable": True, "auto_delete": False, **options}
        self.channel.exchange_declare(name, kind, **options)
        return name

    def put(self, key: str, body: str = "x", exchange: str = "", **more: Any) -> None:
        message = Message(body, **more)
        self.channel.basic_publish(message, exchange, key, confirm_timeout=SECONDS)

    def take(self, queue: str, count: int = 1) -> list[Any]:
        """The next messages of a queue; waits for each, acknowledges none."""
        got: list[Any] = []
        tag = self.channel.basic_consume(queue, callback=got.append)
        while len(got) < count:
            self.connection.drain_events(timeout=SECONDS)
        self.channel.basic_cancel(tag)
        return got

    def refused(self, attempt: Callable[[Any], Any]) -> str:
        """What the broker says to an attempt that it must refuse."""
        with pytest.raises(AMQPError) as refusal:
            attempt(self.channel)
        if not isinstance(refusal.value, ChannelError):
            self.connection.close()
            self.connection = self.kombu.connection
        self.channel = self.connection.channel()
        return str(refusal.value).partition(" - ")[2]


def bodies(messages: list[Any]) -> list[str]:
    return [message.body for message in messages]
