"""A published message, and its place in one queue."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from amqp.basic_message import Message as AmqpMessage
from amqp.serialization import decode_properties_basic

from metronome_broker.embedded.death import Death, Deaths, Reason
from metronome_broker.embedded.errors import AmqpError
from metronome_broker.embedded.wire import UNDECODABLE, check_depth

#: Flag bits that no property of the basic class uses.
UNUSED_FLAGS = 0x0003


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What a publisher sent, with its properties still encoded.

    Attributes:
        properties: flags and values as on the wire; passed on untouched unless the
            broker has a header to add.
        expiration: milliseconds the publisher gives it, or None.
        deaths: how it was dead-lettered so far.
    """

    exchange: str
    routing_key: str
    properties: bytes
    body: bytes
    expiration: int | None = None
    deaths: Deaths = field(default_factory=Deaths)

    @classmethod
    def received(
        cls, *, exchange: str, routing_key: str, properties: bytes, body: bytes
    ) -> Message:
        """A message as published.

        Raises:
            AmqpError: 502 for properties that cannot be decoded, 406 for an
                expiration that is no number of milliseconds.
        """
        expiration = decode_properties(properties).get("expiration")
        return cls(
            exchange=exchange,
            routing_key=routing_key,
            properties=properties,
            body=body,
            expiration=_milliseconds(expiration),
        )

    def died(
        self, *, queue: str, reason: Reason, exchange: str, routing_key: str | None
    ) -> Message:
        """The message as its dead-letter exchange gets it.

        Its expiration goes, as it would expire at once in the next queue.
        """
        properties = decode_properties(self.properties)
        death = Death(
            queue=queue,
            reason=reason,
            exchange=self.exchange,
            routing_key=self.routing_key,
            at=datetime.now(UTC).replace(tzinfo=None),
            original_expiration=properties.pop("expiration", None),
        )
        deaths = self.deaths.with_death(death)
        return Message(
            exchange=exchange,
            routing_key=self.routing_key if routing_key is None else routing_key,
            properties=_encode(properties, deaths.as_headers()),
            body=self.body,
            deaths=deaths,
        )

    def properties_with(self, headers: dict[str, Any]) -> bytes:
        """The encoded properties with more headers; unchanged for none."""
        if not headers:
            return self.properties
        return _encode(decode_properties(self.properties), headers)


@dataclass(slots=True, kw_only=True, eq=False)
class QueuedMessage:
    """A message in one queue, ready or held by a consumer.

    Attributes:
        position: its turn; a message put back takes its old turn again.
        deadline: loop time at which it expires, or None.
        returns: how often it came back unacknowledged.
    """

    message: Message
    position: int
    deadline: float | None = None
    returns: int = 0

    @property
    def redelivered(self) -> bool:
        """True when some consumer had it before."""
        return self.returns > 0


def decode_properties(properties: bytes) -> dict[str, Any]:
    """The properties of a content header by name.

    Raises:
        AmqpError: 502, the bytes are no properties of the basic class.
    """
    try:
        (flags,) = struct.unpack_from(">H", properties)
        found, end = decode_properties_basic(properties, 0)
    except UNDECODABLE:
        raise AmqpError(502, "cannot decode properties") from None
    if flags & UNUSED_FLAGS or end != len(properties):
        raise AmqpError(502, "content header holds more than the properties it flags")
    check_depth(found.get("application_headers"))
    return dict(found)


def _encode(properties: dict[str, Any], headers: dict[str, Any]) -> bytes:
    merged = {**properties.get("application_headers", {}), **headers}
    message = AmqpMessage(**{**properties, "application_headers": merged})
    return bytes(message._serialize_properties())


def _milliseconds(text: str | None) -> int | None:
    if text is None:
        return None
    if not (isinstance(text, str) and text.isascii() and text.isdigit()):
        raise AmqpError(406, f"invalid expiration {text!r}: no_integer")
    return int(text)
