"""Which messages the broker has answered for, matched by delivery tag."""

from __future__ import annotations

from dataclasses import dataclass

from metronome_broker.errors import BrokerError


class ConfirmMismatch(BrokerError):
    """The broker answered for a message that was never sent on this channel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """The broker's answers for one batch; every key is in at most one place."""

    confirmed: frozenset[str]
    nacked: frozenset[str]
    returned: dict[str, str]
    unknown: frozenset[str]


class ConfirmWindow:
    """The unconfirmed messages of one channel, from its first to its last.

    Pure bookkeeping: the publisher tells what it sent and what came back. A
    channel counts its publishes from 1 and the broker answers with that count;
    ``multiple`` means all up to it. A returned message is acked after its return,
    and that ack confirms nothing.
    """

    def __init__(self) -> None:
        self._sent = 0
        self._outstanding: dict[int, str] = {}
        self._confirmed: set[str] = set()
        self._nacked: set[str] = set()
        self._returned: dict[str, str] = {}

    @property
    def outstanding(self) -> int:
        """How many messages the broker has not answered for."""
        return len(self._outstanding)

    def sent(self, key: str) -> int:
        """Counts a publish; the delivery tag the broker will answer with."""
        self._sent += 1
        self._outstanding[self._sent] = key
        return self._sent

    def on_ack(self, tag: int, multiple: bool) -> None:
        """basic.ack: confirmed, unless returned before.

        Raises:
            ConfirmMismatch: no message of this tag was ever sent.
        """
        self._confirmed.update(
            key for key in self._take(tag, multiple) if key not in self._returned
        )

    def on_nack(self, tag: int, multiple: bool) -> None:
        """basic.nack: refused, a full queue or an error inside the broker.

        Raises:
            ConfirmMismatch: no message of this tag was ever sent.
        """
        self._nacked.update(
            key for key in self._take(tag, multiple) if key not in self._returned
        )

    def on_return(self, key: str, reason: str) -> None:
        """basic.return: reached no queue.

        Raises:
            ConfirmMismatch: no message of this key is unconfirmed.
        """
        if key not in self._outstanding.values():
            raise ConfirmMismatch(
                f"broker returned message {key!r}, which is not among the "
                f"{self.outstanding} unconfirmed"
            )
        self._returned[key] = reason

    def _take(self, tag: int, multiple: bool) -> list[str]:
        if tag > self._sent:
            raise ConfirmMismatch(
                f"broker answered for delivery tag {tag}, but only {self._sent} "
                "messages were sent"
            )
        if not multiple:
            key = self._outstanding.pop(tag, None)
            return [] if key is None else [key]
        # Tags are in the order of sending; tag 0 stands for all of them.
        tags = [t for t in self._outstanding if not tag or t <= tag]
        return [self._outstanding.pop(t) for t in tags]

    def settle(self) -> Settled:
        """The answers since the last call; what is unanswered is unknown.

        Unknown messages are forgotten, so the channel must not be used again when
        there are any: a late answer would be for one of them.
        """
        settled = Settled(
            confirmed=frozenset(self._confirmed),
            nacked=frozenset(self._nacked),
            returned=dict(self._returned),
            unknown=frozenset(self._outstanding.values()) - self._returned.keys(),
        )
        self._outstanding.clear()
        self._confirmed.clear()
        self._nacked.clear()
        self._returned.clear()
        return settled
