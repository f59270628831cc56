"""A lane: one task class, its queue, its binding and its limits."""

from __future__ import annotations

import re
from dataclasses import dataclass

from metronome_broker.errors import InvalidLane

QUEUE_PREFIX = "metronome."
#: Lanes of these names would share a queue with the topology's own two.
RESERVED_NAMES = frozenset({"dead", "unrouted"})
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
# The words in which Celery's native delayed delivery writes a countdown.
_DELAY = re.compile(r"(?:[01]\.){28}")
_SHORTSTR_BYTES = 255
_MILLISECONDS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """One task class: what its queue is called and how far it may go.

    Args:
        name: ``[a-z0-9][a-z0-9_-]{0,62}``, neither ``dead`` nor ``unrouted``.
        delivery_limit: deliveries returned without an ack before a message is
            dead-lettered; a poison task ends in ``metronome.dead`` after it.
        max_length: messages the queue takes before it refuses (nacks) more, and a
            burst may run over it; None for no bound.
        message_ttl_seconds: seconds a message may wait before it is dead-lettered
            as expired; None for ever.

    Raises:
        InvalidLane: the name or a limit is not possible.
    """

    name: str
    delivery_limit: int = 20
    max_length: int | None = None
    message_ttl_seconds: float | None = None

    def __post_init__(self) -> None:
        check_lane_name(self.name)
        _check_positive(self.name, "delivery_limit", self.delivery_limit)
        if self.max_length is not None:
            _check_positive(self.name, "max_length", self.max_length)
        ttl = self.message_ttl_seconds
        if ttl is not None and (isinstance(ttl, bool) or not _ttl_fits(ttl)):
            raise InvalidLane(
                f"lane {self.name!r}: message_ttl_seconds must be between 0.001 and "
                f"4294967 seconds or None, not {ttl!r}"
            )

    @property
    def queue_name(self) -> str:
        """The lane's queue, ``metronome.<lane>``."""
        return f"{QUEUE_PREFIX}{self.name}"

    @property
    def binding(self) -> str:
        """The binding key of the lane's queue, ``<lane>.*``."""
        return f"{self.name}.*"

    @property
    def message_ttl_ms(self) -> int | None:
        """The time to live in AMQP's unit, milliseconds."""
        if self.message_ttl_seconds is None:
            return None
        return round(self.message_ttl_seconds * _MILLISECONDS)


def check_lane_name(name: object) -> None:
    """Raises InvalidLane unless the name can be a lane's."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidLane(
            "lane name must be 1 to 63 characters of a-z, 0-9, _ and -, the first "
            f"a letter or digit, not {name!r}"
        )
    if name in RESERVED_NAMES:
        raise InvalidLane(
            f"lane name must not be {name!r}: the queue {QUEUE_PREFIX}{name} has "
            "another purpose"
        )


def routing_key(lane: Lane | str, task_name: str) -> str:
    """The routing key of a task in a lane: ``<lane>.<task name, dots as colons>``.

    Exactly two words: with more, Celery's native delayed delivery, which adds
    ``#.<lane>.*`` bindings to the same exchange, delivers a task twice.

    Raises:
        InvalidLane: the lane's name is not one, or the task's name is empty or
            makes a key longer than AMQP's 255 bytes.
    """
    name = lane.name if isinstance(lane, Lane) else lane
    check_lane_name(name)
    if not isinstance(task_name, str) or not task_name:
        raise InvalidLane(f"task name must be a non-empty string, not {task_name!r}")
    key = f"{name}.{task_name.replace('.', ':')}"
    size = len(key.encode())
    if size > _SHORTSTR_BYTES:
        raise InvalidLane(
            f"routing key {key[:40]!r}… must be at most {_SHORTSTR_BYTES} bytes, "
            f"not {size}: shorten the task's name"
        )
    return key


def lane_of(key: str) -> str | None:
    """The lane's name in a routing key a task was delivered with, or None.

    Celery publishes a retry with a countdown under ``0.0.…1.<lane>.*``: a delay in
    28 binary words, and the lane's binding instead of the key. Without a route that
    reads the lane from the key, such a retry goes to the task's default queue.
    """
    lane = _without_delay(key).partition(".")[0]
    return lane if _NAME.fullmatch(lane) else None


def _without_delay(key: str) -> str:
    delay = _DELAY.match(key)
    return key[delay.end() :] if delay else key


def _check_positive(lane: str, field: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidLane(
            f"lane {lane!r}: {field} must be a whole number of at least 1, "
            f"not {value!r}"
        )


def _ttl_fits(seconds: object) -> bool:
    # RabbitMQ keeps a TTL as an unsigned 32-bit number of milliseconds.
    return isinstance(seconds, int | float) and 0.001 <= seconds <= 4_294_967
