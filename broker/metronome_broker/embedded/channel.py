"""One channel: what it consumes, holds unacknowledged, publishes and confirms."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from amqp import spec

from metronome_broker.embedded.consumer import Consumer
from metronome_broker.embedded.content import Content
from metronome_broker.embedded.errors import AmqpError
from metronome_broker.embedded.faults import Fate
from metronome_broker.embedded.message import Message, QueuedMessage
from metronome_broker.embedded.peer import Peer
from metronome_broker.embedded.queue import Queue
from metronome_broker.embedded.wire import Signature

NO_ROUTE = 312


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A message that a client has and has not settled; no consumer for basic.get."""

    queued: QueuedMessage
    queue: Queue
    consumer: Consumer | None = None


class Channel:
    """An open channel of a connection.

    Attributes:
        prefetch: what the next consumers get as their limit; 0 for none.
        total_prefetch: limit over all consumers of the channel; 0 for none.
        confirming: True after confirm.select.
        last_queue: the queue meant by an empty queue name.
    """

    def __init__(self, connection: Peer, number: int) -> None:
        self.connection = connection
        self.number = number
        self.vhost = connection.vhost
        self.consumers: dict[str, Consumer] = {}
        self.prefetch = 0
        self.total_prefetch = 0
        self.confirming = False
        self.last_queue = ""
        self.closed = False
        self._unacked: dict[int, Delivery] = {}
        self._tag = 0
        self._published = 0
        self._content: Content | None = None

    @property
    def deliverable(self) -> bool:
        """True when the client takes messages now."""
        return self.connection.deliverable

    @property
    def below_total_prefetch(self) -> bool:
        """True when the channel as a whole may be given one more message."""
        return not self.total_prefetch or len(self._unacked) < self.total_prefetch

    @property
    def awaits_content(self) -> bool:
        """True between basic.publish and the end of its body."""
        return self._content is not None

    def send(
        self, signature: Signature, layout: str = "", values: Sequence[object] = ()
    ) -> None:
        """Send a method on this channel."""
        self.connection.send(self.number, signature, layout, values)

    # -- to the client

    def deliver(self, consumer: Consumer, queued: QueuedMessage) -> None:
        """Send a message to one of the consumers."""
        held = None if consumer.no_ack else consumer
        tag = self._hold(queued, consumer.queue, held, no_ack=consumer.no_ack)
        message = queued.message
        self.send(
            spec.Basic.Deliver,
            "sLbss",
            (
                consumer.tag,
                tag,
                queued.redelivered,
                message.exchange,
                message.routing_key,
            ),
        )
        self._send_content(queued, consumer.queue)

    def answer_get(self, queue: Queue, queued: QueuedMessage, *, no_ack: bool) -> None:
        """Send a message as the answer to basic.get."""
        tag = self._hold(queued, queue, None, no_ack=no_ack)
        message = queued.message
        self.send(
            spec.Basic.GetOk,
            "Lbssl",
            (
                tag,
                queued.redelivered,
                message.exchange,
                message.routing_key,
                len(queue),
            ),
        )
        self._send_content(queued, queue)

    def consumer_gone(self, consumer: Consumer) -> None:
        """Tell the client, if it asked to know, that its queue ended a consumer."""
        self.consumers.pop(consumer.tag, None)
        if self.connection.capability("consumer_cancel_notify"):
            # Later: whoever deleted the queue on this channel gets its answer first.
            self.connection.loop.call_soon(self._send_cancel, consumer.tag)

    # -- settling

    def take_unacked(self, tag: int, *, multiple: bool) -> list[Delivery]:
        """Stop holding what a client's ack, nack or reject names.

        Raises:
            AmqpError: 406, no such delivery is unsettled.
        """
        if multiple and (tag == 0 or tag in self._unacked):
            tags = [held for held in self._unacked if tag == 0 or held <= tag]
        elif tag in self._unacked:
            tags = [tag]
        else:
            raise AmqpError(406, f"unknown delivery tag {tag}")
        return self._release(tags)

    def take_all_unacked(self) -> list[Delivery]:
        """Stop holding everything."""
        return self._release(list(self._unacked))

    def return_to_queues(self, deliveries: Iterable[Delivery]) -> None:
        """Put deliveries back in their turns."""
        for delivery in reversed(list(deliveries)):
            delivery.queue.put_back(delivery.queued)

    def pump(self, deliveries: Iterable[Delivery] = ()) -> None:
        """Let queues deliver again: those of ``deliveries`` and of our consumers."""
        queues = {id(each.queue): each.queue for each in deliveries}
        for consumer in self.consumers.values():
            queues[id(consumer.queue)] = consumer.queue
        for queue in queues.values():
            queue.pump()

    # -- publishing

    def expect(self, content: Content) -> None:
        """Wait for the content that a basic.publish announced."""
        self._content = content

    def receive_header(self, payload: bytes) -> None:
        """Take a content header frame; raises 505 when none is expected."""
        self._expected().add_header(payload)
        self._publish_if_complete()

    def receive_body(self, payload: bytes) -> None:
        """Take a content body frame; raises 505 when none is expected."""
        self._expected().add_body(payload)
        self._publish_if_complete()

    def publish(self, content: Content) -> None:
        """Route a complete publish, return it when asked to, and confirm it.

        Raises:
            AmqpError: 404 no such exchange, 403 it is internal, 406 for properties.
        """
        message = Message.received(
            exchange=content.exchange,
            routing_key=content.routing_key,
            properties=content.properties or b"",
            body=content.body,
        )
        exchange = self.vhost.exchange(content.exchange)
        if exchange.internal:
            raise AmqpError(
                403,
                f"cannot publish to internal exchange '{exchange.name}' "
                f"in vhost '{self.vhost.name}'",
            )
        if self.confirming:
            self._published += 1
        accepted = self._store(message, content)
        self._confirm(accepted=accepted)

    def close(self) -> None:
        """End consumers and put back what they held."""
        self.closed = True
        self._content = None
        deliveries = self.take_all_unacked()
        consumers = list(self.consumers.values())
        self.consumers.clear()
        for consumer in consumers:
            if consumer.queue.remove_consumer(consumer):
                self.vhost.delete_queue(consumer.queue)
        self.return_to_queues(deliveries)
        queues = {each.queue for each in consumers}
        queues.update(each.queue for each in deliveries)
        for queue in queues:
            if not queue.deleted:
                queue.pump()

    def _store(self, message: Message, content: Content) -> bool:
        fate = self.connection.faults.fate_of_publish(message.exchange)
        if fate in (Fate.NACKED, Fate.LOST):
            return fate is Fate.LOST
        queues = self.vhost.route(message.exchange, message.routing_key)
        if fate is Fate.RETURNED:
            queues = []
        if not queues and content.mandatory:
            self._return(message)
        # Every queue is tried: one that is full must not hide it from the others.
        refusals = sum(not queue.publish(message) for queue in queues)
        return refusals == 0

    def _return(self, message: Message) -> None:
        self.send(
            spec.Basic.Return,
            "Bsss",
            (NO_ROUTE, "NO_ROUTE", message.exchange, message.routing_key),
        )
        self.connection.send_content(self.number, message.properties, message.body)

    def _confirm(self, *, accepted: bool) -> None:
        faults = self.connection.faults
        if not self.confirming or faults.swallow_confirms:
            return
        if faults.confirm_delay:
            self.connection.loop.call_later(
                faults.confirm_delay, self._send_confirm, self._published, accepted
            )
        else:
            self._send_confirm(self._published, accepted)

    def _send_confirm(self, sequence: int, accepted: bool) -> None:
        if self.closed:
            return
        if accepted:
            self.send(spec.Basic.Ack, "Lb", (sequence, False))
        else:
            self.send(spec.Basic.Nack, "Lbb", (sequence, False, False))

    def _send_cancel(self, tag: str) -> None:
        if not self.closed:
            self.send(spec.Basic.Cancel, "sb", (tag, True))

    def _expected(self) -> Content:
        if self._content is None:
            raise AmqpError(505, "expected method frame, got non method frame instead")
        return self._content

    def _publish_if_complete(self) -> None:
        content = self._content
        if content is not None and content.complete:
            self._content = None
            self.connection.admit_publish(self.number, lambda: self.publish(content))

    def _send_content(self, queued: QueuedMessage, queue: Queue) -> None:
        properties = queued.message.properties_with(queue.added_headers(queued))
        self.connection.send_content(self.number, properties, queued.message.body)

    def _hold(
        self,
        queued: QueuedMessage,
        queue: Queue,
        consumer: Consumer | None,
        *,
        no_ack: bool,
    ) -> int:
        self._tag += 1
        if no_ack:
            return self._tag
        self._unacked[self._tag] = Delivery(
            queued=queued, queue=queue, consumer=consumer
        )
        queue.unacked += 1
        if consumer is not None:
            consumer.unacked += 1
        return self._tag

    def _release(self, tags: Iterable[int]) -> list[Delivery]:
        deliveries = [self._unacked.pop(tag) for tag in tags]
        for delivery in deliveries:
            delivery.queue.unacked -= 1
            if delivery.consumer is not None:
                delivery.consumer.unacked -= 1
        return deliveries
