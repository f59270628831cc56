"""The connection as a channel sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from metronome_broker.embedded.faults import Faults
from metronome_broker.embedded.vhost import Vhost
from metronome_broker.embedded.wire import Signature


class Peer(Protocol):
    """What a channel needs of its connection."""

    loop: asyncio.AbstractEventLoop

    @property
    def faults(self) -> Faults:
        """The scripted faults that are on."""

    @property
    def vhost(self) -> Vhost:
        """The vhost that the client opened."""

    @property
    def deliverable(self) -> bool:
        """True when messages may be sent to this client now."""

    def capability(self, name: str) -> bool:
        """Whether the client said that it understands ``name``."""

    def send(
        self,
        channel: int,
        signature: Signature,
        layout: str = "",
        values: Sequence[object] = (),
    ) -> None:
        """Send a method."""

    def send_content(self, channel: int, properties: bytes, body: bytes) -> None:
        """Send the content that follows a method."""

    def admit_publish(self, channel: int, publish: Callable[[], None]) -> None:
        """Let a publish happen now, or later if there is an alarm."""

    def forget_channel(self, number: int) -> None:
        """Learn that the client closed a channel."""
