"""The methods of class queue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from amqp import spec
from amqp.serialization import dumps

from metronome_broker.embedded.arguments import QueueArguments
from metronome_broker.embedded.channel import Channel
from metronome_broker.embedded.errors import AmqpError
from metronome_broker.embedded.exchange import Binding
from metronome_broker.embedded.method import Method
from metronome_broker.embedded.queue import Queue
from metronome_broker.embedded.vhost import RESERVED
from metronome_broker.embedded.wire import Signature


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """What a queue.declare asks for."""

    name: str
    durable: bool
    exclusive: bool
    auto_delete: bool
    arguments: dict[str, Any]


def named_queue(channel: Channel, name: str) -> Queue:
    """The queue a client means, which it may use; no name is its last declared.

    Raises:
        AmqpError: 404 there is none, 405 another connection has it exclusively.
    """
    if not name and not channel.last_queue:
        raise AmqpError(404, "no previously declared queue")
    queue = channel.vhost.queue(name or channel.last_queue)
    queue.check_access(channel.connection)
    return queue


def _declare(channel: Channel, values: list[Any]) -> None:
    _ticket, name, passive, durable, exclusive, auto_delete, no_wait, arguments = values
    if passive:
        queue = named_queue(channel, name)
    else:
        queue = _declared(
            channel,
            Declaration(
                name=name or channel.vhost.unused_name(),
                durable=durable,
                exclusive=exclusive,
                auto_delete=auto_delete,
                arguments=arguments,
            ),
            chosen_by_us=not name,
        )
    queue.touch()
    channel.last_queue = queue.name
    if not no_wait:
        counts = (len(queue), len(queue.rota))
        channel.send(spec.Queue.DeclareOk, "sll", (queue.name, *counts))


def _declared(channel: Channel, wanted: Declaration, *, chosen_by_us: bool) -> Queue:
    current = channel.vhost.queues.get(wanted.name)
    where = f"queue '{wanted.name}' in vhost '{channel.vhost.name}'"
    if current is not None:
        _check_same(channel, current, wanted)
        return current
    if wanted.name.startswith(RESERVED) and not chosen_by_us:
        raise AmqpError(
            403, f"queue name '{wanted.name}' contains reserved prefix 'amq.*'"
        )
    arguments = QueueArguments.parse(wanted.arguments, where)
    if arguments.queue_type == "quorum":
        _check_quorum(wanted, where)
    queue = Queue(
        name=wanted.name,
        vhost=channel.vhost.name,
        arguments=arguments,
        loop=channel.connection.loop,
        bury=channel.vhost.bury,
        durable=wanted.durable,
        auto_delete=wanted.auto_delete,
        owner=channel.connection if wanted.exclusive else None,
    )
    channel.vhost.add_queue(queue)
    return queue


def _check_same(channel: Channel, current: Queue, wanted: Declaration) -> None:
    for name in ("durable", "auto_delete"):
        received, there = getattr(wanted, name), getattr(current, name)
        if received != there:
            raise AmqpError(
                406,
                f"inequivalent arg '{name}' for {current.where}: received "
                f"'{str(received).lower()}' but current is '{str(there).lower()}'",
            )
    if wanted.exclusive != (current.owner is not None):
        raise current.locked()
    current.check_access(channel.connection)
    current.arguments.check_equivalent(wanted.arguments, current.where)


def _check_quorum(wanted: Declaration, where: str) -> None:
    refused = {
        "non-durable": not wanted.durable,
        "exclusive-owner": wanted.exclusive,
        "auto-delete": wanted.auto_delete,
    }
    for name, present in refused.items():
        if present:
            raise AmqpError(406, f"invalid property '{name}' for {where}")


def _bind(channel: Channel, values: list[Any]) -> None:
    _ticket, name, exchange, routing_key, no_wait, arguments = values
    queue = named_queue(channel, name)
    # AMQP: with neither named, the key is the queue's name as well.
    key = queue.name if not name and not routing_key else routing_key
    channel.vhost.bind(_binding(queue.name, exchange, key, arguments))
    if not no_wait:
        channel.send(spec.Queue.BindOk)


def _unbind(channel: Channel, values: list[Any]) -> None:
    _ticket, name, exchange, routing_key, arguments = values
    meant = name or channel.last_queue
    queue = channel.vhost.queues.get(meant)
    if queue is not None:
        queue.check_access(channel.connection)
    channel.vhost.unbind(_binding(meant, exchange, routing_key, arguments))
    channel.send(spec.Queue.UnbindOk)


def _purge(channel: Channel, values: list[Any]) -> None:
    _ticket, name, no_wait = values
    count = named_queue(channel, name).purge()
    if not no_wait:
        channel.send(spec.Queue.PurgeOk, "l", (count,))


def _delete(channel: Channel, values: list[Any]) -> None:
    _ticket, name, if_unused, if_empty, no_wait = values
    queue = channel.vhost.queues.get(name or channel.last_queue)
    count = 0
    if queue is not None:
        queue.check_access(channel.connection)
        if if_unused and len(queue.rota):
            raise AmqpError(406, f"{queue.where} in use")
        if if_empty and len(queue):
            raise AmqpError(406, f"{queue.where} not empty")
        count = channel.vhost.delete_queue(queue)
    if not no_wait:
        channel.send(spec.Queue.DeleteOk, "l", (count,))


def _binding(
    queue: str, exchange: str, routing_key: str, arguments: dict[str, Any]
) -> Binding:
    return Binding(
        source=exchange,
        kind="queue",
        destination=queue,
        routing_key=routing_key,
        arguments=arguments,
        arguments_key=dumps("F", [arguments]),
    )


METHODS: dict[Signature, Method] = {
    spec.Queue.Declare: Method("BsbbbbbF", _declare),
    spec.Queue.Bind: Method("BsssbF", _bind),
    spec.Queue.Unbind: Method("BsssF", _unbind),
    spec.Queue.Purge: Method("Bsb", _purge),
    spec.Queue.Delete: Method("Bsbbb", _delete),
}
