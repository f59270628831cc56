"""The channels of one connection by their numbers."""

from __future__ import annotations

from amqp import spec

from metronome_broker.embedded.channel import Channel
from metronome_broker.embedded.errors import AmqpError
from metronome_broker.embedded.peer import Peer

Reason = tuple[int, str, int, int]


class ChannelTable:
    """Open channels, and those we closed and the client has not confirmed yet.

    Attributes:
        channel_max: highest number a client may use.
        closing: closed by us; whatever still comes on them was sent before the
            client knew.
    """

    def __init__(self, connection: Peer, *, channel_max: int) -> None:
        self.channel_max = channel_max
        self.closing: set[int] = set()
        self._connection = connection
        self._open: dict[int, Channel] = {}

    def __len__(self) -> int:
        return len(self._open)

    def __getitem__(self, number: int) -> Channel:
        if number not in self._open:
            raise AmqpError(504, "expected 'channel.open'")
        return self._open[number]

    def open_channels(self) -> list[Channel]:
        """Those that are open now."""
        return list(self._open.values())

    def open(self, number: int) -> None:
        """Open a channel.

        Raises:
            AmqpError: 504, its number is in use or too high.
        """
        if number in self._open:
            raise AmqpError(504, "second 'channel.open' seen")
        if number > self.channel_max:
            raise AmqpError(504, f"channel {number} is above {self.channel_max}")
        self._open[number] = Channel(self._connection, number)
        self._connection.send(number, spec.Channel.OpenOk, "S", ("",))

    def close(self, number: int, reason: Reason) -> None:
        """Send channel.close and forget the channel."""
        self._connection.send(number, spec.Channel.Close, "BsBB", reason)
        self.closing.add(number)
        self.forget(number)

    def forget(self, number: int) -> None:
        """End a channel, without a word to the client."""
        channel = self._open.pop(number, None)
        if channel is not None:
            channel.close()

    def clear(self) -> None:
        """End every channel."""
        for number in list(self._open):
            self.forget(number)
