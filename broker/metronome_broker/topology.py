"""The exchanges and queues that carry runs, declared by us before anything else.

::

    metronome ────────── <lane>.* ──▶ metronome.<lane> ── dead ──▶ metronome.dead
        │ nothing bound                      ▲                (exchange, queue, .news)
        ▼ (alternate exchange)               │
    metronome.unrouted (exchange, queue)     │ <lane>.*
    metronome.runs ──────────────────────────┘    nothing bound: returned
    metronome.events

Two exchanges lead to each lane, because two promises exclude each other on one:
a message that an alternate exchange takes in counts as routed, so RabbitMQ confirms
it and ``mandatory`` returns nothing (tested on 4.0). What anybody publishes to
``metronome`` must not vanish, so that exchange has the alternate one. A beat must
hear at once that its run reached no lane, so it publishes to ``metronome.runs``,
which has the same bindings and no alternate exchange: there an unroutable run is
returned. Both are the same to a worker.

Dead letters go to two queues. ``metronome.dead`` keeps each until a person has looked
at it; ``metronome.dead.news`` holds a copy until a monitor has closed the run, so that
nobody reads the first again and again, which would count as deliveries and cost more
the fuller it is. The news are bounded, oldest dropped: where no monitor runs they are
of no use to anybody.

Arguments or policies: the type, the dead-letter route and its strategy are arguments,
since a queue declared without them loses messages from its first minute. The
limits are arguments too, and not policies: a policy needs the management API or
``rabbitmqctl``, which an application seldom has, and RabbitMQ before 4.0 has no
delivery limit of its own, so a poison task would run for ever there. Where a policy
exists as well RabbitMQ takes the smaller value, so an operator can lower a limit
without touching the queue; raising one is drift, and is named as such.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kombu import Connection, Exchange, Queue

from metronome_broker import declarations
from metronome_broker.declared import Declared, ExchangeSpec, QueueSpec
from metronome_broker.drift import TopologyReport
from metronome_broker.errors import InvalidLane
from metronome_broker.lane import Lane

EXCHANGE = "metronome"
DEADLINE_SECONDS = 30.0
# Reading a kept message and putting it back counts as a delivery, and from 4.0 on a
# queue without a limit of its own drops a message at the 20th. -1 means unlimited
# only from 4.0 on, so: a number nobody reaches.
_KEEP_DELIVERY_LIMIT = 1_000_000
_MOST_NEWS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """Everything this system declares on a broker, as one value.

    Args:
        lanes: at least one, each name once.
        exchange: the topic exchange tasks are published to; the names of the
            others start with it.

    Raises:
        InvalidLane: no lane, or two of the same name.
    """

    lanes: tuple[Lane, ...]
    exchange: str = EXCHANGE

    def __post_init__(self) -> None:
        object.__setattr__(self, "lanes", tuple(self.lanes))
        names = [lane.name for lane in self.lanes]
        if not names:
            raise InvalidLane("lanes must name at least one lane, not none")
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise InvalidLane(f"lanes must name each lane once, not twice: {twice}")

    @property
    def run_exchange(self) -> str:
        """Where beats publish: no alternate exchange, so ``mandatory`` holds."""
        return f"{self.exchange}.runs"

    @property
    def dead_exchange(self) -> str:
        """Takes what a lane gave up: rejected, expired, delivered too often."""
        return f"{self.exchange}.dead"

    @property
    def dead_queue(self) -> str:
        """Keeps every dead letter until someone looks."""
        return f"{self.exchange}.dead"

    @property
    def dead_news_queue(self) -> str:
        """Tells monitors of each dead letter, once."""
        return f"{self.exchange}.dead.news"

    @property
    def unrouted_exchange(self) -> str:
        """Alternate exchange of ``exchange``."""
        return f"{self.exchange}.unrouted"

    @property
    def unrouted_queue(self) -> str:
        """Keeps what was published to ``exchange`` under a key no lane has."""
        return f"{self.exchange}.unrouted"

    @property
    def event_exchange(self) -> str:
        """Carries run events to whoever listens."""
        return f"{self.exchange}.events"

    def lane(self, name: str) -> Lane:
        """The lane of that name.

        Raises:
            InvalidLane: there is none.
        """
        for lane in self.lanes:
            if lane.name == name:
                return lane
        known = ", ".join(sorted(lane.name for lane in self.lanes))
        raise InvalidLane(f"lane must be one of {known}, not {name!r}")

    def exchanges(self) -> tuple[ExchangeSpec, ...]:
        """Every exchange, in the order of declaration: targets before sources."""
        alternate = {"alternate-exchange": self.unrouted_exchange}
        return (
            ExchangeSpec(name=self.unrouted_exchange, type="fanout", arguments={}),
            ExchangeSpec(name=self.dead_exchange, type="topic", arguments={}),
            ExchangeSpec(name=self.event_exchange, type="topic", arguments={}),
            ExchangeSpec(name=self.exchange, type="topic", arguments=alternate),
            ExchangeSpec(name=self.run_exchange, type="topic", arguments={}),
        )

    def queues(self) -> tuple[QueueSpec, ...]:
        """Every queue: first those that catch, then the lanes."""
        keep = {"x-queue-type": "quorum", "x-delivery-limit": _KEEP_DELIVERY_LIMIT}
        return (
            QueueSpec(
                name=self.unrouted_queue,
                arguments=keep,
                bindings=((self.unrouted_exchange, "#"),),
            ),
            QueueSpec(
                name=self.dead_queue,
                arguments=keep,
                bindings=((self.dead_exchange, "#"),),
            ),
            QueueSpec(
                name=self.dead_news_queue,
                arguments={
                    **keep,
                    "x-max-length": _MOST_NEWS,
                    "x-overflow": "drop-head",
                },
                bindings=((self.dead_exchange, "#"),),
            ),
            *(self._lane_queue(lane) for lane in self.lanes),
        )

    def _lane_queue(self, lane: Lane) -> QueueSpec:
        return QueueSpec(
            name=lane.queue_name,
            arguments=self._lane_arguments(lane),
            bindings=(
                (self.exchange, lane.binding),
                (self.run_exchange, lane.binding),
            ),
        )

    def _lane_arguments(self, lane: Lane) -> dict[str, Any]:
        arguments: dict[str, Any] = {
            "x-queue-type": "quorum",
            "x-delivery-limit": lane.delivery_limit,
            "x-dead-letter-exchange": self.dead_exchange,
            # At least once works only for a queue that refuses when full instead
            # of dropping its oldest message.
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
        }
        if lane.max_length is not None:
            arguments["x-max-length"] = lane.max_length
        if lane.message_ttl_ms is not None:
            arguments["x-message-ttl"] = lane.message_ttl_ms
        return arguments

    def kombu_queues(self) -> list[Queue]:
        """The lanes for Celery's ``task_queues``.

        Each has the lane's name as alias, so ``celery worker -Q reports`` takes
        lane names.
        """
        exchange = Exchange(
            self.exchange,
            type="topic",
            durable=True,
            arguments={"alternate-exchange": self.unrouted_exchange},
        )
        return [
            Queue(
                lane.queue_name,
                exchange,
                routing_key=lane.binding,
                durable=True,
                queue_arguments=self._lane_arguments(lane),
                alias=lane.name,
            )
            for lane in self.lanes
        ]

    def _declared(self) -> Declared:
        return Declared(
            exchanges=self.exchanges(),
            queues=self.queues(),
            delayed=tuple(self.kombu_queues()),
        )

    def apply(
        self, connection: str | Connection, *, deadline: float = DEADLINE_SECONDS
    ) -> TopologyReport:
        """Declares everything, and Celery's delayed delivery, so that countdowns
        work before any worker has run. Idempotent; nothing is changed on drift.

        Args:
            connection: an AMQP URL, or a kombu Connection that is only read.
            deadline: seconds for all of it.

        Raises:
            TopologyDrift: something exists with other arguments.
            BrokerUnreachable: no connection, or not done in time.
        """
        return declarations.apply(self._declared(), connection, deadline)

    def check(
        self, connection: str | Connection, *, deadline: float = DEADLINE_SECONDS
    ) -> TopologyReport:
        """Says what is missing or different, and changes nothing.

        Bindings are not looked at: AMQP has no question for them.

        Raises:
            BrokerUnreachable: no connection, or not done in time.
        """
        return declarations.check(self._declared(), connection, deadline)


def lanes_named(names: Sequence[str]) -> tuple[Lane, ...]:
    """Lanes with every limit at its default."""
    return tuple(Lane(name=name) for name in names)
