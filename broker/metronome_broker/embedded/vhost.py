"""One virtual host: its exchanges and queues, and the way of a message through them."""

from __future__ import annotations

import asyncio
import secrets
from collections import deque

from metronome_broker.embedded.death import Reason
from metronome_broker.embedded.errors import AmqpError
from metronome_broker.embedded.exchange import Binding, Exchange, Kind
from metronome_broker.embedded.message import Message
from metronome_broker.embedded.queue import Queue

RESERVED = "amq."
DEFAULT_EXCHANGE = ""


class Vhost:
    """Everything declared under one vhost name.

    Args:
        name: as clients open it.
        loop: tells the time to queues with a TTL or an expiry.
    """

    def __init__(self, name: str, loop: asyncio.AbstractEventLoop) -> None:
        self.name = name
        self.exchanges: dict[str, Exchange] = {}
        self.queues: dict[str, Queue] = {}
        self._loop = loop
        self._dead: deque[tuple[Queue, Message, Reason]] = deque()
        self._burying = False
        self._add_exchange(Exchange(name=DEFAULT_EXCHANGE, vhost=name, type="direct"))
        self._add_exchange(Exchange(name="amq.direct", vhost=name, type="direct"))
        self._add_exchange(Exchange(name="amq.fanout", vhost=name, type="fanout"))
        self._add_exchange(Exchange(name="amq.topic", vhost=name, type="topic"))

    def exchange(self, name: str) -> Exchange:
        """An exchange that must exist; raises 404."""
        try:
            return self.exchanges[name]
        except KeyError:
            raise AmqpError(
                404, f"no exchange '{name}' in vhost '{self.name}'"
            ) from None

    def queue(self, name: str) -> Queue:
        """A queue that must exist; raises 404."""
        try:
            return self.queues[name]
        except KeyError:
            raise AmqpError(404, f"no queue '{name}' in vhost '{self.name}'") from None

    def unused_name(self) -> str:
        """A name for a queue whose client left the choice to the broker."""
        return f"amq.gen-{secrets.token_urlsafe(16)}"

    def declare_exchange(self, wanted: Exchange) -> None:
        """Create an exchange, or check that the one there is the same.

        Raises:
            AmqpError: 403 for a reserved name, 406 when it exists and differs.
        """
        self.refuse_default(wanted.name)
        current = self.exchanges.get(wanted.name)
        if current is not None:
            current.check_equivalent(wanted)
            return
        if wanted.name.startswith(RESERVED):
            raise AmqpError(
                403, f"exchange name '{wanted.name}' contains reserved prefix 'amq.*'"
            )
        self._add_exchange(wanted)

    def delete_exchange(self, name: str, *, if_unused: bool = False) -> None:
        """Delete an exchange and every binding from and to it; none is fine.

        Raises:
            AmqpError: 403 for a built-in one, 406 when ``if_unused`` and it is used.
        """
        self.refuse_default(name)
        exchange = self.exchanges.get(name)
        if exchange is None:
            return
        if name.startswith(RESERVED):
            raise AmqpError(
                403,
                f"deletion of system exchange '{name}' in vhost '{self.name}' "
                "not allowed",
            )
        if if_unused and exchange.bindings:
            raise AmqpError(406, f"exchange '{name}' in vhost '{self.name}' in use")
        del self.exchanges[name]
        self._unbind_all("exchange", name)

    def add_queue(self, queue: Queue) -> None:
        """Put a new queue under its name and watch its expiry."""
        self.queues[queue.name] = queue
        self._watch_expiry(queue)

    def delete_queue(self, queue: Queue) -> int:
        """Delete a queue with its bindings; how many messages were ready."""
        if queue.deleted:
            return 0
        del self.queues[queue.name]
        self._unbind_all("queue", queue.name)
        return queue.close()

    def delete_queues_of(self, owner: object) -> None:
        """Delete the exclusive queues of a connection that ended."""
        for queue in [each for each in self.queues.values() if each.owner is owner]:
            self.delete_queue(queue)

    def bind(self, binding: Binding) -> None:
        """Add a binding between things that exist.

        Raises:
            AmqpError: 404 when one does not, 403 for the default exchange.
        """
        self.refuse_default(binding.source)
        if binding.kind == "exchange":
            self.refuse_default(binding.destination)
            self.exchange(binding.destination)
        self.exchange(binding.source).add(binding)

    def unbind(self, binding: Binding) -> None:
        """Remove a binding; one that is not there is fine."""
        self.refuse_default(binding.source)
        source = self.exchanges.get(binding.source)
        if source is not None:
            self._unbind(source, [binding])

    def refuse_default(self, name: str) -> None:
        """Raise 403 when ``name`` is the default exchange."""
        if name == DEFAULT_EXCHANGE:
            raise AmqpError(403, "operation not permitted on the default exchange")

    def route(self, exchange: str, routing_key: str) -> list[Queue]:
        """The queues that a message reaches, each once."""
        found: dict[str, Queue] = {}
        seen: set[str] = set()
        ahead = [exchange]
        while ahead:
            name = ahead.pop()
            if name in seen or name not in self.exchanges:
                continue
            seen.add(name)
            if name == DEFAULT_EXCHANGE:
                reached = [routing_key] if routing_key in self.queues else []
            else:
                reached = self._follow(self.exchanges[name], routing_key, ahead)
            found.update((each, self.queues[each]) for each in reached)
        return list(found.values())

    def bury(self, queue: Queue, message: Message, reason: Reason) -> None:
        """Dead-letter a message of a queue, or drop it when that has no exchange.

        Messages wait in line here, as one dead letter can push out the next and a
        chain of queues must not become a stack of calls.
        """
        if queue.arguments.dead_letter_exchange is None:
            return
        self._dead.append((queue, message, reason))
        if self._burying:
            return
        self._burying = True
        try:
            while self._dead:
                self._publish_dead(*self._dead.popleft())
        finally:
            self._burying = False

    def _publish_dead(self, queue: Queue, message: Message, reason: Reason) -> None:
        arguments = queue.arguments
        dead = message.died(
            queue=queue.name,
            reason=reason,
            exchange=arguments.dead_letter_exchange or DEFAULT_EXCHANGE,
            routing_key=arguments.dead_letter_routing_key,
        )
        # RabbitMQ retries an at-least-once dead letter until it is taken; taking it
        # over the limit loses it as little.
        force = arguments.dead_letter_strategy == "at-least-once"
        for target in self.route(dead.exchange, dead.routing_key):
            if not dead.deaths.cycle_to(target.name):
                target.publish(dead, force=force)

    def _follow(
        self, exchange: Exchange, routing_key: str, ahead: list[str]
    ) -> list[str]:
        matched = exchange.match(routing_key)
        if not matched and exchange.alternate is not None:
            ahead.append(exchange.alternate)
        ahead.extend(each.destination for each in matched if each.kind == "exchange")
        return [each.destination for each in matched if each.kind == "queue"]

    def _add_exchange(self, exchange: Exchange) -> None:
        self.exchanges[exchange.name] = exchange

    def _unbind_all(self, kind: Kind, destination: str) -> None:
        for exchange in list(self.exchanges.values()):
            self._unbind(exchange, exchange.bindings_to(kind, destination))

    def _unbind(self, source: Exchange, bindings: list[Binding]) -> None:
        if source.remove(bindings) and source.auto_delete:
            self.delete_exchange(source.name)

    def _watch_expiry(self, queue: Queue) -> None:
        until = queue.idle_until()
        if until is not None and not queue.deleted:
            self._loop.call_at(until, self._expire, queue)

    def _expire(self, queue: Queue) -> None:
        until = queue.idle_until()
        if until is not None and until <= self._loop.time():
            self.delete_queue(queue)
        self._watch_expiry(queue)
