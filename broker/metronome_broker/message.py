"""A message to publish, checked before it comes near a connection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import amqp
from amqp.serialization import dumps

from metronome_broker.errors import InvalidMessage

_SHORTSTR_BYTES = 255
#: RabbitMQ 4 closes the channel on a larger one, and with it every neighbour.
MAX_BODY_BYTES = 16 * 1024 * 1024
_PERSISTENT = 2
_TEXT_PROPERTIES = frozenset({"correlation_id", "reply_to", "type", "app_id"})
_NUMBER_LIMITS = {"priority": 255, "expiration_ms": 2**32 - 1, "timestamp": 2**63 - 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundMessage:
    """One run on its way to a lane; persistent, its run id is its message id.

    Args:
        run_id: identifies the message in the report; at most 255 bytes.
        exchange: for a run ``Topology.run_exchange``, which alone returns what
            reaches no lane.
        routing_key: from ``routing_key(lane, task_name)``.
        body: the encoded body, at most 16 MiB.
        content_type, content_encoding: of the body.
        headers: anything AMQP's table can hold.
        properties: any of ``correlation_id``, ``reply_to``, ``type``, ``app_id``
            (text), ``priority``, ``timestamp``, ``expiration_ms`` (whole numbers);
            None leaves one out.

    Raises:
        InvalidMessage: a field that can never be sent. Whoever builds the message
            hears of it, so that one bad run does not spoil a batch.
    """

    run_id: str
    exchange: str
    routing_key: str
    body: bytes
    content_type: str = "application/json"
    content_encoding: str = "utf-8"
    headers: Mapping[str, Any] = field(default_factory=dict)
    properties: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.run_id:
            raise InvalidMessage("message run_id must be a non-empty string, not ''")
        for name in ("run_id", "exchange", "routing_key", "content_type"):
            self._check_text(name, getattr(self, name))
        self._check_text("content_encoding", self.content_encoding)
        if not isinstance(self.body, bytes) or len(self.body) > MAX_BODY_BYTES:
            raise InvalidMessage(
                f"message {self.run_id!r}: body must be at most {MAX_BODY_BYTES} "
                f"bytes, not {_size(self.body)}"
            )
        for name, value in self.properties.items():
            self._check_property(name, value)
        try:
            dumps("F", [dict(self.headers)])
        except Exception as exc:
            raise InvalidMessage(
                f"message {self.run_id!r}: headers must be values that an AMQP table "
                f"can hold, but encoding them failed: {exc}"
            ) from exc

    def _check_text(self, name: str, value: object) -> None:
        if not isinstance(value, str) or len(value.encode()) > _SHORTSTR_BYTES:
            raise InvalidMessage(
                f"message {self.run_id!r}: {name} must be a string of at most "
                f"{_SHORTSTR_BYTES} bytes, not {str(value)[:60]!r}"
            )

    def _check_property(self, name: str, value: object) -> None:
        if name in _TEXT_PROPERTIES:
            if value is not None:
                self._check_text(name, value)
            return
        limit = _NUMBER_LIMITS.get(name)
        if limit is None:
            known = ", ".join(sorted({*_TEXT_PROPERTIES, *_NUMBER_LIMITS}))
            raise InvalidMessage(
                f"message {self.run_id!r}: property must be one of {known}, "
                f"not {name!r}"
            )
        if value is None:
            return
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not whole or not 0 <= value <= limit:  # type: ignore[operator]
            raise InvalidMessage(
                f"message {self.run_id!r}: {name} must be a whole number between 0 "
                f"and {limit}, not {value!r}"
            )

    def to_amqp(self) -> amqp.Message:
        """The message as py-amqp sends it."""
        properties = {k: v for k, v in self.properties.items() if v is not None}
        expiration = properties.pop("expiration_ms", None)
        if expiration is not None:
            properties["expiration"] = str(expiration)
        return amqp.Message(
            self.body,
            message_id=self.run_id,
            delivery_mode=_PERSISTENT,
            content_type=self.content_type,
            content_encoding=self.content_encoding,
            application_headers=dict(self.headers),
            **properties,
        )


def _size(body: object) -> str:
    return f"{len(body)} bytes" if isinstance(body, bytes) else type(body).__name__
