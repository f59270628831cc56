"""How a message was dead-lettered: the ``x-death`` history that travels with it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

Reason = Literal["expired", "rejected", "delivery_limit", "maxlen"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """One queue that gave a message up for one reason, and how often it did.

    Attributes:
        at: first time it happened, naive UTC as py-amqp writes timestamps.
        original_expiration: milliseconds as the publisher wrote them, if any.
    """

    queue: str
    reason: Reason
    exchange: str
    routing_key: str
    at: datetime
    original_expiration: str | None = None
    count: int = 1

    def as_table(self) -> dict[str, Any]:
        """The AMQP table that RabbitMQ writes for it."""
        table: dict[str, Any] = {
            "count": self.count,
            "reason": self.reason,
            "queue": self.queue,
            "time": self.at,
            "exchange": self.exchange,
            "routing-keys": [self.routing_key],
        }
        if self.original_expiration is not None:
            table["original-expiration"] = self.original_expiration
        return table


@dataclass(frozen=True, slots=True, kw_only=True)
class Deaths:
    """Every death of one message, the most recent first."""

    recent: tuple[Death, ...] = field(default=())
    first: Death | None = None

    def with_death(self, death: Death) -> Deaths:
        """The history after one more death; a repeated one is counted up."""
        known = [old for old in self.recent if _same(old, death)]
        others = tuple(old for old in self.recent if not _same(old, death))
        if known:
            death = replace(known[0], count=known[0].count + 1)
        return Deaths(recent=(death, *others), first=self.first or death)

    def cycle_to(self, queue: str) -> bool:
        """True when going to ``queue`` again would repeat with no client involved.

        RabbitMQ drops such a message; a client's reject anywhere in the cycle makes
        it deliberate.
        """
        for death in self.recent:
            if death.reason == "rejected":
                return False
            if death.queue == queue:
                return True
        return False

    def as_headers(self) -> dict[str, Any]:
        """The ``x-death`` headers, empty when nothing happened yet."""
        if self.first is None:
            return {}
        last = self.recent[0]
        return {
            "x-death": [death.as_table() for death in self.recent],
            "x-first-death-exchange": self.first.exchange,
            "x-first-death-queue": self.first.queue,
            "x-first-death-reason": self.first.reason,
            "x-last-death-exchange": last.exchange,
            "x-last-death-queue": last.queue,
            "x-last-death-reason": last.reason,
        }


def _same(one: Death, other: Death) -> bool:
    return (one.queue, one.reason) == (other.queue, other.reason)
