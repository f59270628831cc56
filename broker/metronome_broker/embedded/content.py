"""A publish whose header and body frames are still arriving."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from metronome_broker.embedded.errors import AmqpError
from metronome_broker.embedded.wire import BASIC_CLASS

#: Bytes of one message body; RabbitMQ 4's own default.
BODY_MAX = 16 * 1024 * 1024
#: Class, weight and body size come before the properties.
PROPERTIES_OFFSET = 12


@dataclass(slots=True, kw_only=True, eq=False)
class Content:
    """What basic.publish announced and what of it is here.

    Attributes:
        properties: encoded properties, None until the header frame came.
        size: bytes of body that the header announced.
    """

    exchange: str
    routing_key: str
    mandatory: bool
    properties: bytes | None = None
    size: int = 0
    _chunks: list[bytes] = field(default_factory=list)
    _received: int = 0

    @property
    def complete(self) -> bool:
        """True when header and whole body are here."""
        return self.properties is not None and self._received == self.size

    @property
    def body(self) -> bytes:
        """The body so far."""
        return b"".join(self._chunks)

    def add_header(self, payload: bytes) -> None:
        """Take the header frame.

        Raises:
            AmqpError: 505 out of turn, 502 too short, 406 for too large a body.
        """
        if self.properties is not None:
            raise AmqpError(505, "expected content body, got content header instead")
        if len(payload) < PROPERTIES_OFFSET + 2:
            raise AmqpError(502, "content header is too short")
        class_id, _weight, size = struct.unpack_from(">HHQ", payload)
        if class_id != BASIC_CLASS:
            raise AmqpError(
                505,
                f"expected content header for class {BASIC_CLASS}, "
                f"got one for class {class_id} instead",
            )
        if size > BODY_MAX:
            raise AmqpError(
                406,
                f"message size {size} is larger than configured max size {BODY_MAX}",
            )
        self.size = size
        self.properties = payload[PROPERTIES_OFFSET:]

    def add_body(self, payload: bytes) -> None:
        """Take one body frame.

        Raises:
            AmqpError: 505 before the header, 501 for more than was announced.
        """
        if self.properties is None:
            raise AmqpError(
                505,
                f"expected content header for class {BASIC_CLASS}, "
                "got non content header frame instead",
            )
        self._received += len(payload)
        if self._received > self.size:
            raise AmqpError(
                501, f"content body is longer than the {self.size} bytes announced"
            )
        self._chunks.append(payload)
