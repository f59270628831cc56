"""The ``x-`` arguments of a queue: meaning, validity, equivalence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from metronome_broker.embedded.errors import AmqpError

QueueType = Literal["classic", "quorum"]
Check = Callable[[object], str | None]

#: What RabbitMQ 4 gives a quorum queue that says nothing.
DEFAULT_DELIVERY_LIMIT = 20
OVERFLOWS = ("drop-head", "reject-publish", "reject-publish-dlx")
STRATEGIES = ("at-most-once", "at-least-once")


def _integer(minimum: int) -> Check:
    def check(value: object) -> str | None:
        if isinstance(value, bool) or not isinstance(value, int):
            return f'"expected integer, got {type_name(value)}"'
        if value >= minimum:
            return None
        word = "value_negative" if value < 0 else "value_zero"
        return f"{{{word},{value}}}"

    return check


def _one_of(allowed: tuple[str, ...], otherwise: str) -> Check:
    return lambda value: None if value in allowed else otherwise


def _of_type(wanted: type, otherwise: str) -> Check:
    def check(value: object) -> str | None:
        if isinstance(value, wanted):
            return None
        return otherwise.format(type_name(value))

    return check


#: Arguments that are understood; any other is accepted, kept and ignored.
CHECKS: dict[str, Check] = {
    "x-message-ttl": _integer(0),
    "x-expires": _integer(1),
    "x-max-length": _integer(0),
    "x-max-length-bytes": _integer(0),
    "x-delivery-limit": _integer(-1),
    "x-overflow": _one_of(OVERFLOWS, "invalid_overflow"),
    "x-dead-letter-strategy": _one_of(STRATEGIES, "invalid_dlx_strategy"),
    "x-dead-letter-exchange": _of_type(str, "{{unacceptable_type,{}}}"),
    "x-dead-letter-routing-key": _of_type(str, "{{unacceptable_type,{}}}"),
    "x-single-active-consumer": _of_type(bool, "{{unacceptable_type,{}}}"),
}
#: Compared when a queue is declared again; RabbitMQ ignores the rest as well.
COMPARED = (*CHECKS, "x-max-priority", "x-queue-mode")
ONLY_FOR: dict[str, QueueType] = {
    "x-delivery-limit": "quorum",
    "x-dead-letter-strategy": "quorum",
    "x-quorum-initial-group-size": "quorum",
    "x-max-priority": "classic",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueArguments:
    """Arguments of one queue, checked.

    Attributes:
        given: as the client sent them.
        message_ttl: milliseconds a message may wait, or None.
        expires: milliseconds the queue may be unused, or None.
        delivery_limit: returns before a message is dead-lettered; None for no limit.
    """

    given: Mapping[str, Any] = field(default_factory=dict)
    queue_type: QueueType = "classic"
    message_ttl: int | None = None
    expires: int | None = None
    max_length: int | None = None
    max_length_bytes: int | None = None
    overflow: str = "drop-head"
    delivery_limit: int | None = None
    dead_letter_exchange: str | None = None
    dead_letter_routing_key: str | None = None
    dead_letter_strategy: str = "at-most-once"
    single_active_consumer: bool = False

    @classmethod
    def parse(cls, given: Mapping[str, Any], where: str) -> QueueArguments:
        """The arguments of a queue.declare.

        Args:
            given: the table the client sent.
            where: the queue in words, ``queue 'q' in vhost '/'``.

        Raises:
            AmqpError: 406, an argument is invalid.
        """
        queue_type = queue_type_of(given, where)
        for name, value in given.items():
            _check_argument(name, value, queue_type, where)
        _check_dead_letter_route(given, where)
        known = {_field_name(name): given[name] for name in CHECKS if name in given}
        limit = given.get("x-delivery-limit", DEFAULT_DELIVERY_LIMIT)
        bounded = queue_type == "quorum" and limit >= 0
        known["delivery_limit"] = limit if bounded else None
        return cls(given=dict(given), queue_type=queue_type, **known)

    def check_equivalent(self, received: Mapping[str, Any], where: str) -> None:
        """Raise 406 when ``received`` is not what this queue was declared with."""
        queue_type = queue_type_of(received, where)
        if queue_type != self.queue_type:
            raise AmqpError(
                406,
                f"inequivalent arg 'x-queue-type' for {where}: received "
                f"'{queue_type}' but current is '{self.queue_type}'",
            )
        check_same_arguments(received, self.given, COMPARED, where)


def check_same_arguments(
    received: Mapping[str, Any],
    current: Mapping[str, Any],
    names: tuple[str, ...],
    where: str,
) -> None:
    """Raise 406 for the first of ``names`` that differs, in RabbitMQ's words."""
    for name in names:
        if received.get(name) == current.get(name):
            continue
        raise AmqpError(
            406,
            f"inequivalent arg '{name}' for {where}: received "
            f"{_told(received, name, current)} but current is "
            f"{_told(current, name, received)}",
        )


def type_name(value: object) -> str:
    """The type of a table value, as RabbitMQ calls it."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "signedint" if -(2**31) < value < 2**31 else "long"
    names: dict[type, str] = {
        str: "longstr",
        bytes: "binary",
        float: "double",
        Decimal: "decimal",
        datetime: "timestamp",
        dict: "table",
        list: "array",
    }
    return names.get(type(value), "void")


def _told(table: Mapping[str, Any], name: str, other: Mapping[str, Any]) -> str:
    if name not in table:
        return "none"
    if name in other:
        return f"'{table[name]}'"
    return f"the value '{table[name]}' of type '{type_name(table[name])}'"


def queue_type_of(given: Mapping[str, Any], where: str) -> QueueType:
    """The queue type that arguments ask for, classic if they do not say.

    Raises:
        AmqpError: 406, there is no such type.
    """
    value = given.get("x-queue-type", "classic")
    if value == "classic":
        return "classic"
    if value == "quorum":
        return "quorum"
    raise _invalid("x-queue-type", where, f"\"unsupported queue type '{value}'\"")


def _check_argument(
    name: str, value: object, queue_type: QueueType, where: str
) -> None:
    if ONLY_FOR.get(name, queue_type) != queue_type:
        raise AmqpError(
            406,
            f"invalid arg '{name}' for {where} of queue type rabbit_{queue_type}_queue",
        )
    complaint = CHECKS[name](value) if name in CHECKS else None
    if complaint is not None:
        raise _invalid(name, where, complaint)


def _check_dead_letter_route(given: Mapping[str, Any], where: str) -> None:
    name = "x-dead-letter-routing-key"
    if name in given and "x-dead-letter-exchange" not in given:
        raise _invalid(name, where, "routing_key_but_no_dlx_defined")


def _invalid(name: str, where: str, complaint: str) -> AmqpError:
    return AmqpError(406, f"invalid arg '{name}' for {where}: {complaint}")


def _field_name(argument: str) -> str:
    return argument.removeprefix("x-").replace("-", "_")
