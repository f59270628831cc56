"""One queue: its messages, its limits, and who gets what."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections import deque
from collections.abc import Callable
from typing import Any

from metronome_broker.embedded.arguments import QueueArguments
from metronome_broker.embedded.death import Reason
from metronome_broker.embedded.errors import AmqpError
from metronome_broker.embedded.message import Message, QueuedMessage
from metronome_broker.embedded.rota import Rota, Taker

Bury = Callable[["Queue", Message, Reason], None]
SECOND = 1000


class Queue:
    """A named queue of one vhost.

    As in RabbitMQ, messages expire only at the head: one that expires behind a
    longer-lived one waits for it.

    Args:
        loop: tells the time and wakes the queue when its head expires.
        bury: called with what is to be dead-lettered.
        owner: the connection an exclusive queue belongs to.

    Attributes:
        unacked: messages delivered and not yet settled.
        deleted: True once it is gone; what still comes back is dropped.
    """

    def __init__(
        self,
        *,
        name: str,
        vhost: str,
        arguments: QueueArguments,
        loop: asyncio.AbstractEventLoop,
        bury: Bury,
        durable: bool = False,
        auto_delete: bool = False,
        owner: object | None = None,
    ) -> None:
        self.name = name
        self.vhost = vhost
        self.arguments = arguments
        self.durable = durable
        self.auto_delete = auto_delete
        self.owner = owner
        self.rota = Rota(single_active=arguments.single_active_consumer)
        self.unacked = 0
        self.deleted = False
        self.used_at = loop.time()
        self._loop = loop
        self._bury = bury
        self._ready: deque[QueuedMessage] = deque()
        self._ready_bytes = 0
        self._next_position = 0
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at: float | None = None

    def __len__(self) -> int:
        return len(self._ready)

    @property
    def where(self) -> str:
        """The queue in words, for error texts."""
        return f"queue '{self.name}' in vhost '{self.vhost}'"

    def check_access(self, connection: object) -> None:
        """Raise 405 when another connection holds this queue exclusively."""
        if self.owner is not None and self.owner is not connection:
            raise self.locked()

    def locked(self) -> AmqpError:
        """The 405 that RabbitMQ answers for a queue of another connection."""
        return AmqpError(
            405,
            f"cannot obtain exclusive access to locked {self.where}. It could be "
            "originally declared on another connection or the exclusive property "
            "value does not match that of the original declaration.",
        )

    def publish(self, message: Message, *, force: bool = False) -> bool:
        """Store a message; False when the queue is full and rejects it.

        Args:
            force: take it whatever ``x-overflow`` says.
        """
        if not force and self._rejects(message):
            if self.arguments.overflow == "reject-publish-dlx":
                self._bury(self, message, "maxlen")
            return False
        self._expire_heads()
        self._append(message)
        # Before looking at limits and TTL 0: what a consumer takes at once is
        # neither over a limit nor late.
        self._hand_out()
        self._trim()
        self._expire_heads()
        self._set_alarm()
        return True

    def take(self) -> QueuedMessage | None:
        """The next message for a basic.get, or None."""
        self.touch()
        self._expire_heads()
        taken = self._pop() if self._ready else None
        self._set_alarm()
        return taken

    def pump(self) -> None:
        """Give waiting messages to consumers that can take them."""
        self._expire_heads()
        self._hand_out()
        self._set_alarm()

    def put_back(self, queued: QueuedMessage) -> None:
        """Return an unacknowledged message to its turn, or to the dead letters.

        The caller pumps when everything is back, so that the order holds.
        """
        queued.returns += 1
        limit = self.arguments.delivery_limit
        if self.deleted:
            return
        if limit is not None and queued.returns > limit:
            self._bury(self, queued.message, "delivery_limit")
            return
        self._insert(queued)
        self._trim()

    def give_up(self, queued: QueuedMessage) -> None:
        """Dead-letter a message that its consumer rejected."""
        if not self.deleted:
            self._bury(self, queued.message, "rejected")

    def added_headers(self, queued: QueuedMessage) -> dict[str, Any]:
        """Headers the queue adds when it delivers: a quorum queue counts returns."""
        if self.arguments.queue_type == "quorum" and queued.returns:
            return {"x-delivery-count": queued.returns}
        return {}

    def purge(self) -> int:
        """Drop every ready message; how many there were."""
        count = len(self._ready)
        self._ready.clear()
        self._ready_bytes = 0
        self._set_alarm()
        return count

    def close(self) -> int:
        """Stop for good and tell consumers; how many messages were ready."""
        self.deleted = True
        for taker in self.rota.takers:
            self.rota.remove(taker)
            taker.cancel()
        return self.purge()

    def touch(self) -> None:
        """Note that the queue is in use, for ``x-expires``."""
        self.used_at = self._loop.time()

    def idle_until(self) -> float | None:
        """Loop time at which ``x-expires`` ends the queue unless it is used."""
        if self.arguments.expires is None:
            return None
        since = self._loop.time() if len(self.rota) else self.used_at
        return since + self.arguments.expires / SECOND

    def add_consumer(self, taker: Taker) -> None:
        """Serve one more consumer.

        Raises:
            AmqpError: 403, it or one that is there wants the queue for itself.
        """
        others = self.rota.takers
        if others and (taker.exclusive or any(each.exclusive for each in others)):
            raise AmqpError(403, f"{self.where} in exclusive use")
        self.rota.add(taker)

    def remove_consumer(self, taker: Taker) -> bool:
        """Serve it no longer; True when auto-delete ends the queue with it."""
        was_last = self.rota.remove(taker)
        self.touch()
        return was_last and self.auto_delete

    def _append(self, message: Message) -> None:
        limits = (self.arguments.message_ttl, message.expiration)
        ttl = min((each for each in limits if each is not None), default=None)
        deadline = None if ttl is None else self._loop.time() + ttl / SECOND
        self._insert(
            QueuedMessage(
                message=message, position=self._next_position, deadline=deadline
            )
        )
        self._next_position += 1

    def _insert(self, queued: QueuedMessage) -> None:
        self._ready_bytes += len(queued.message.body)
        if not self._ready or queued.position > self._ready[-1].position:
            self._ready.append(queued)
        elif queued.position < self._ready[0].position:
            self._ready.appendleft(queued)
        else:
            place = bisect_left(
                self._ready, queued.position, key=lambda each: each.position
            )
            self._ready.insert(place, queued)

    def _pop(self) -> QueuedMessage:
        queued = self._ready.popleft()
        self._ready_bytes -= len(queued.message.body)
        return queued

    def _hand_out(self) -> None:
        while self._ready:
            taker = self.rota.next()
            if taker is None:
                return
            taker.deliver(self._pop())

    def _rejects(self, message: Message) -> bool:
        if self.arguments.overflow == "drop-head":
            return False
        # A quorum queue notices only after the message that crossed the limit;
        # a classic one looks ahead. RabbitMQ 4 does the same.
        if self.arguments.queue_type == "quorum":
            return self._over_limit(0, 0)
        return self._over_limit(1, len(message.body))

    def _over_limit(self, more: int, more_bytes: int) -> bool:
        count, size = self.arguments.max_length, self.arguments.max_length_bytes
        if count is not None and len(self._ready) + more > count:
            return True
        return size is not None and self._ready_bytes + more_bytes > size

    def _trim(self) -> None:
        if self.arguments.overflow != "drop-head":
            return
        while self._ready and self._over_limit(0, 0):
            self._bury(self, self._pop().message, "maxlen")

    def _expire_heads(self) -> None:
        now = self._loop.time()
        while self._ready:
            deadline = self._ready[0].deadline
            if deadline is None or deadline > now:
                return
            self._bury(self, self._pop().message, "expired")

    def _set_alarm(self) -> None:
        at = self._ready[0].deadline if self._ready else None
        if at == self._alarm_at:
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_at = at
        self._alarm = None if at is None else self._loop.call_at(at, self._ring)

    def _ring(self) -> None:
        self._alarm_at = self._alarm = None
        self.pump()
