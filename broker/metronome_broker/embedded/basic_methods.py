"""The methods of class basic."""

from __future__ import annotations

import secrets
from typing import Any

from amqp import spec

from metronome_broker.embedded.channel import Channel
from metronome_broker.embedded.consumer import Consumer
from metronome_broker.embedded.content import Content
from metronome_broker.embedded.errors import AmqpError
from metronome_broker.embedded.method import Method
from metronome_broker.embedded.queue_methods import named_queue
from metronome_broker.embedded.wire import Signature


def _qos(channel: Channel, values: list[Any]) -> None:
    size, count, over_all = values
    if size:
        raise AmqpError(540, f"prefetch_size!=0 ({size})")
    if over_all:
        channel.total_prefetch = count
    else:
        channel.prefetch = count
    channel.send(spec.Basic.QosOk)
    channel.pump()


def _consume(channel: Channel, values: list[Any]) -> None:
    _ticket, name, tag, _no_local, no_ack, exclusive, no_wait, _arguments = values
    queue = named_queue(channel, name)
    if tag in channel.consumers:
        raise AmqpError(530, f"attempt to reuse consumer tag '{tag}'")
    consumer = Consumer(
        tag=tag or f"amq.ctag-{secrets.token_urlsafe(16)}",
        queue=queue,
        receiver=channel,
        no_ack=no_ack,
        exclusive=exclusive,
        prefetch=channel.prefetch,
    )
    queue.add_consumer(consumer)
    channel.consumers[consumer.tag] = consumer
    if not no_wait:
        channel.send(spec.Basic.ConsumeOk, "s", (consumer.tag,))
    queue.pump()


def _cancel(channel: Channel, values: list[Any]) -> None:
    tag, no_wait = values
    consumer = channel.consumers.pop(tag, None)
    if consumer is not None:
        if consumer.queue.remove_consumer(consumer):
            channel.vhost.delete_queue(consumer.queue)
        else:
            consumer.queue.pump()
    if not no_wait:
        channel.send(spec.Basic.CancelOk, "s", (tag,))


def _publish(channel: Channel, values: list[Any]) -> None:
    _ticket, exchange, routing_key, mandatory, immediate = values
    if immediate:
        raise AmqpError(540, "immediate=true")
    channel.expect(
        Content(exchange=exchange, routing_key=routing_key, mandatory=mandatory)
    )


def _get(channel: Channel, values: list[Any]) -> None:
    _ticket, name, no_ack = values
    queue = named_queue(channel, name)
    queued = queue.take()
    if queued is None:
        channel.send(spec.Basic.GetEmpty, "s", ("",))
    else:
        channel.answer_get(queue, queued, no_ack=no_ack)


def _ack(channel: Channel, values: list[Any]) -> None:
    tag, multiple = values
    channel.take_unacked(tag, multiple=multiple)
    channel.pump()


def _reject(channel: Channel, values: list[Any]) -> None:
    tag, requeue = values
    _refuse(channel, tag, multiple=False, requeue=requeue)


def _nack(channel: Channel, values: list[Any]) -> None:
    tag, multiple, requeue = values
    _refuse(channel, tag, multiple=multiple, requeue=requeue)


def _refuse(channel: Channel, tag: int, *, multiple: bool, requeue: bool) -> None:
    deliveries = channel.take_unacked(tag, multiple=multiple)
    if requeue:
        channel.return_to_queues(deliveries)
    else:
        for delivery in deliveries:
            delivery.queue.give_up(delivery.queued)
    channel.pump(deliveries)


def _recover(channel: Channel, values: list[Any]) -> None:
    (requeue,) = values
    if not requeue:
        raise AmqpError(540, "requeue=false")
    deliveries = channel.take_all_unacked()
    channel.return_to_queues(deliveries)
    channel.send(spec.Basic.RecoverOk)
    channel.pump(deliveries)


METHODS: dict[Signature, Method] = {
    spec.Basic.Qos: Method("lBb", _qos),
    spec.Basic.Consume: Method("BssbbbbF", _consume),
    spec.Basic.Cancel: Method("sb", _cancel),
    spec.Basic.Publish: Method("Bssbb", _publish),
    spec.Basic.Get: Method("Bsb", _get),
    spec.Basic.Ack: Method("Lb", _ack),
    spec.Basic.Nack: Method("Lbb", _nack),
    spec.Basic.Reject: Method("Lb", _reject),
    spec.Basic.Recover: Method("b", _recover),
}
