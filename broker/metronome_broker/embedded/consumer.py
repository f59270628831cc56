"""A consumer: one basic.consume, between its queue and its channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from metronome_broker.embedded.message import QueuedMessage
from metronome_broker.embedded.queue import Queue


class Receiver(Protocol):
    """What a consumer needs of its channel."""

    @property
    def deliverable(self) -> bool:
        """True when its client takes messages now."""

    @property
    def below_total_prefetch(self) -> bool:
        """True when the channel as a whole may hold one more."""

    def deliver(self, consumer: Consumer, queued: QueuedMessage) -> None:
        """Send a message to the client."""

    def consumer_gone(self, consumer: Consumer) -> None:
        """Tell the client that the broker ended a consumer."""


@dataclass(slots=True, kw_only=True, eq=False)
class Consumer:
    """One basic.consume of one channel.

    Attributes:
        prefetch: most messages it may hold unacknowledged; 0 for any number.
        unacked: messages it holds now.
    """

    tag: str
    queue: Queue
    receiver: Receiver
    no_ack: bool = False
    exclusive: bool = False
    prefetch: int = 0
    unacked: int = 0

    @property
    def ready(self) -> bool:
        """True when it may be given a message now."""
        if not self.receiver.deliverable:
            return False
        if self.no_ack:
            return True
        below = not self.prefetch or self.unacked < self.prefetch
        return below and self.receiver.below_total_prefetch

    def deliver(self, queued: QueuedMessage) -> None:
        """Give it one message."""
        self.receiver.deliver(self, queued)

    def cancel(self) -> None:
        """Tell its client that the broker ended it: its queue is gone."""
        self.receiver.consumer_gone(self)
