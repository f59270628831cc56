"""Consumers of a queue, and whose turn it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from metronome_broker.embedded.channel import Channel
    from metronome_broker.embedded.message import QueuedMessage
    from metronome_broker.embedded.queue import Queue


@dataclass(slots=True, kw_only=True, eq=False)
class Consumer:
    """One basic.consume of one channel.

    Attributes:
        prefetch: most messages it may hold unacknowledged; 0 for any number.
        unacked: messages it holds now.
    """

    tag: str
    queue: Queue
    channel: Channel
    no_ack: bool = False
    exclusive: bool = False
    prefetch: int = 0
    unacked: int = 0

    @property
    def ready(self) -> bool:
        """True when it may be given a message now."""
        if not self.channel.connection.deliverable:
            return False
        if self.no_ack:
            return True
        below = not self.prefetch or self.unacked < self.prefetch
        return below and self.channel.below_total_prefetch

    def deliver(self, queued: QueuedMessage) -> None:
        """Give it one message."""
        self.channel.deliver(self, queued)

    def cancel(self) -> None:
        """Tell its client that the broker ended it: its queue is gone."""
        self.channel.consumer_gone(self)


@dataclass(slots=True, kw_only=True, eq=False)
class Rota:
    """The consumers of one queue, served in turn.

    Attributes:
        single_active: True when only the first, the longest there, is served.
    """

    single_active: bool = False
    _consumers: list[Consumer] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self._consumers)

    @property
    def consumers(self) -> tuple[Consumer, ...]:
        """Everyone on it, next in turn first."""
        return tuple(self._consumers)

    def add(self, consumer: Consumer) -> None:
        """Put a consumer last."""
        self._consumers.append(consumer)

    def remove(self, consumer: Consumer) -> bool:
        """Take a consumer off; True when it was the last one."""
        if consumer not in self._consumers:
            return False
        self._consumers.remove(consumer)
        return not self._consumers

    def next(self) -> Consumer | None:
        """Who gets the next message, or None while nobody can take one."""
        if self.single_active:
            first = self._consumers[0] if self._consumers else None
            return first if first is not None and first.ready else None
        for place, consumer in enumerate(self._consumers):
            if consumer.ready:
                self._consumers.append(self._consumers.pop(place))
                return consumer
        return None
