"""Whose turn it is among those who take messages from one queue."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from metronome_broker.embedded.message import QueuedMessage


class Taker(Protocol):
    """Someone a queue gives messages to."""

    @property
    def ready(self) -> bool:
        """True when it may be given a message now."""

    @property
    def exclusive(self) -> bool:
        """True when it wants to be the only one."""

    def deliver(self, queued: QueuedMessage) -> None:
        """Give it one message."""

    def cancel(self) -> None:
        """Tell it that the queue is gone."""


@dataclass(slots=True, kw_only=True, eq=False)
class Rota:
    """The takers of one queue, served in turn.

    Attributes:
        single_active: True when only the first, the longest there, is served.
    """

    single_active: bool = False
    _takers: list[Taker] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self._takers)

    @property
    def takers(self) -> tuple[Taker, ...]:
        """Everyone on it, next in turn first."""
        return tuple(self._takers)

    def add(self, taker: Taker) -> None:
        """Put a taker last."""
        self._takers.append(taker)

    def remove(self, taker: Taker) -> bool:
        """Take one off; True when it was the last."""
        if taker not in self._takers:
            return False
        self._takers.remove(taker)
        return not self._takers

    def next(self) -> Taker | None:
        """Who gets the next message, or None while nobody can take one."""
        if self.single_active:
            first = self._takers[0] if self._takers else None
            return first if first is not None and first.ready else None
        for place, taker in enumerate(self._takers):
            if taker.ready:
                self._takers.append(self._takers.pop(place))
                return taker
        return None
