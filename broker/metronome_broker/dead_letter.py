"""A dead letter: a message that a lane gave up, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from metronome_broker.errors import InvalidMessage
from metronome_broker.lane import routing_key
from metronome_broker.message import OutboundMessage
from metronome_broker.topology import Topology

_RUN_HEADER = "metronome_run"
#: What the broker wrote about the death. RabbitMQ before 4.0 takes a message that
#: still carries it for one that goes round in circles, and drops it.
_DEATH_HEADERS = ("x-death", "x-first-death-", "x-last-death-", "x-delivery-count")
#: Sent again on purpose, it must not die of the old limit at once.
_LIMITS = ("expires",)
UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """One message of the dead-letter queue.

    Attributes:
        number: its place among those that were read, from 1.
        task_id: the task's id, or None for what is no task message.
        run_id: the run it was to execute; None for any other task.
        task: the task's name.
        retries: the message's own count.
        lane: the lane whose queue gave it up; None when that is no lane of ours.
        reason: the broker's word: ``rejected``, ``expired``, ``delivery_limit`` or
            ``maxlen``.
        died_at: when, by the broker's clock, to the second.
        headers, properties, body: as it was sent.
    """

    number: int
    task_id: str | None
    run_id: str | None
    task: str | None
    retries: int
    lane: str | None
    reason: str
    died_at: datetime | None
    body: bytes
    content_type: str | None
    content_encoding: str | None
    headers: Mapping[str, Any] = field(default_factory=dict)
    properties: Mapping[str, Any] = field(default_factory=dict)

    def again(self, topology: Topology) -> OutboundMessage:
        """The message as it goes back to its lane, without its time limit.

        Raises:
            InvalidMessage: it is no task message, or its lane is not known.
            InvalidLane: the task's name makes no routing key.
        """
        if self.lane is None or self.task is None or self.task_id is None:
            raise InvalidMessage(
                f"dead letter {self.number} must be a task message of a known lane "
                f"to be republished, not one of lane {self.lane} and task {self.task}"
            )
        headers = {
            name: None if name in _LIMITS else value
            for name, value in self.headers.items()
            if not name.startswith(_DEATH_HEADERS)
        }
        return OutboundMessage(
            run_id=self.task_id,
            exchange=topology.run_exchange,
            routing_key=routing_key(self.lane, self.task),
            body=self.body,
            content_type=self.content_type or "application/octet-stream",
            content_encoding=self.content_encoding or "binary",
            headers=headers,
            properties={
                name: self.properties.get(name)
                for name in ("correlation_id", "reply_to", "priority")
            },
        )


def read_dead_letter(message: Any, topology: Topology, *, number: int) -> DeadLetter:
    """What an ``amqp`` message of the dead-letter queue says; it may be anything."""
    properties = dict(message.properties)
    headers = properties.pop("application_headers", None) or {}
    death = _death(headers, topology)
    task_id = _text(headers.get("id")) or _text(properties.get("correlation_id"))
    run_id = _text(headers.get(_RUN_HEADER))
    body = message.body
    return DeadLetter(
        number=number,
        task_id=task_id,
        run_id=run_id if run_id == task_id else None,
        task=_text(headers.get("task")),
        retries=_number(headers.get("retries")),
        lane=_lane(death, topology),
        reason=_text(death.get("reason")) or UNKNOWN,
        died_at=_moment(death.get("time")),
        body=body if isinstance(body, bytes) else str(body).encode(),
        content_type=properties.get("content_type"),
        content_encoding=properties.get("content_encoding"),
        headers=headers,
        properties=properties,
    )


def _death(headers: Mapping[str, Any], topology: Topology) -> Mapping[str, Any]:
    """The latest death in a lane: a delay is a death of Celery's own queues, too."""
    told = headers.get("x-death")
    deaths = [death for death in told or () if isinstance(death, Mapping)]
    lanes = {lane.queue_name for lane in topology.lanes}
    in_lanes = [death for death in deaths if death.get("queue") in lanes]
    return _first(in_lanes) or _first(deaths) or {}


def _first(deaths: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    return deaths[0] if deaths else None


def _lane(death: Mapping[str, Any], topology: Topology) -> str | None:
    queue = death.get("queue")
    return next((n.name for n in topology.lanes if n.queue_name == queue), None)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0


def _moment(value: object) -> datetime | None:
    if not isinstance(value, datetime):
        return None
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value
