"""Declaring a topology on a broker, and comparing one with what is there."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from amqp.exceptions import NotFound, PreconditionFailed
from kombu import Connection
from kombu.transport import native_delayed_delivery as delayed

from metronome_broker.declared import Declared, ExchangeSpec, QueueSpec
from metronome_broker.drift import Difference, TopologyReport, read_difference
from metronome_broker.errors import TopologyDrift
from metronome_broker.wire import Wire, open_wire

_NAME = "metronome-topology"


def check(
    declared: Declared, target: str | Connection, seconds: float
) -> TopologyReport:
    """Passive look at every exchange and queue, and at Celery's delayed ones."""
    with (
        open_wire(target, seconds=seconds, name=_NAME) as (wire, left),
        wire.guarded(left(), "checking the topology"),
    ):
        return _Declarer(wire).compare(declared)


def apply(
    declared: Declared, target: str | Connection, seconds: float
) -> TopologyReport:
    """Compares first and declares nothing on drift; else declares everything."""
    with open_wire(target, seconds=seconds, name=_NAME) as (wire, left):
        declarer = _Declarer(wire)
        with wire.guarded(left(), "applying the topology"):
            report = declarer.compare(declared)
            if not report.differences:
                declarer.declare(declared)
            differences = (*report.differences, *declarer.differences)
    if differences:
        raise TopologyDrift(differences)
    return TopologyReport(missing=report.missing, applied=True)


class _Declarer:
    """Asks and declares over one connection, a new channel after each refusal."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._open_channel: Any = None
        self.missing: list[str] = []
        self.differences: list[Difference] = []

    @property
    def _channel(self) -> Any:
        channel = self._open_channel
        if channel is None or not channel.is_open:
            channel = self._open_channel = self._wire.connection.channel()
        return channel

    def compare(self, declared: Declared) -> TopologyReport:
        self.missing, self.differences = [], []
        for exchange in declared.exchanges:
            self._compare_exchange(exchange)
        for queue in declared.queues:
            self._compare_queue(queue)
        for level in range(delayed.MAX_NUMBER_OF_BITS_TO_USE):
            self._exists("exchange", delayed.level_name(level))
            self._exists("queue", delayed.level_name(level))
        self._exists("exchange", delayed.CELERY_DELAYED_DELIVERY_EXCHANGE)
        found = tuple(self.differences)
        self.differences = []
        return TopologyReport(missing=tuple(self.missing), differences=found)

    def _compare_exchange(self, spec: ExchangeSpec) -> None:
        if self._exists("exchange", spec.name):
            self._attempt("exchange", spec.name, partial(self._declare_exchange, spec))

    def _compare_queue(self, spec: QueueSpec) -> None:
        if self._exists("queue", spec.name):
            # A passive declare ignores arguments. Declaring what exists compares
            # them and changes nothing.
            self._attempt("queue", spec.name, partial(self._declare_queue, spec))

    def _exists(self, kind: str, name: str) -> bool:
        try:
            if kind == "queue":
                self._channel.queue_declare(name, passive=True)
            else:
                self._channel.exchange_declare(name, "topic", passive=True)
        except NotFound:
            self.missing.append(f"{kind} {name}")
            return False
        return True

    def _attempt(self, kind: str, name: str, declare: Callable[[], None]) -> None:
        try:
            declare()
        except PreconditionFailed as exc:
            text = str(exc.reply_text or exc)
            self.differences.append(read_difference(kind, name, text))

    def declare(self, declared: Declared) -> None:
        for exchange in declared.exchanges:
            self._attempt(
                "exchange", exchange.name, partial(self._declare_exchange, exchange)
            )
        for queue in declared.queues:
            self._attempt("queue", queue.name, partial(self._create_queue, queue))
        self._attempt(
            "queue", delayed.level_name(0), partial(self._declare_delayed, declared)
        )

    def _declare_exchange(self, spec: ExchangeSpec) -> None:
        self._channel.exchange_declare(
            spec.name,
            spec.type,
            durable=True,
            auto_delete=False,
            arguments=dict(spec.arguments),
        )

    def _declare_queue(self, spec: QueueSpec) -> None:
        self._channel.queue_declare(
            spec.name,
            durable=True,
            exclusive=False,
            auto_delete=False,
            arguments=dict(spec.arguments),
        )

    def _create_queue(self, spec: QueueSpec) -> None:
        self._declare_queue(spec)
        for exchange, key in spec.bindings:
            self._channel.queue_bind(spec.name, exchange, key)

    def _declare_delayed(self, declared: Declared) -> None:
        # kombu only calls channel() on what it is given, so the guarded connection
        # will do, and its deadline holds here too.
        connection = self._wire.connection
        delayed.declare_native_delayed_delivery_exchanges_and_queues(
            connection, "quorum"
        )
        for queue in declared.delayed:
            delayed.bind_queue_to_native_delayed_delivery_exchange(connection, queue)
