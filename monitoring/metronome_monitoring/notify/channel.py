"""What every channel of notifications is and can do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Protocol

#: Nothing waits longer than this for the other side, seconds.
TIMEOUT_SECONDS = 10.0


class NotSent(Exception):
    """A notification did not get through.

    :param why: one sentence, without any secret.
    :param final: there is no use in trying again.
    """

    def __init__(self, why: str, *, final: bool = False) -> None:
        self.final = final
        super().__init__(why)


class ChannelInvalid(ValueError):
    """What a channel was set up with makes no sense; the message has no secret."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Notification:
    """What is to be sent.

    :param id: the same however often it is sent.
    :param timestamp: now, seconds since 1970.
    :param body: the event, as JSON values.
    """

    id: str
    timestamp: int
    title: str
    text: str
    body: Mapping[str, Any]


class Channel(Protocol):
    """One way to reach people.

    ``kind`` is what outcomes are counted by, ``id`` stays the same while the
    channel's address does, ``shown`` names it without secrets.
    """

    @property
    def kind(self) -> str: ...
    @property
    def id(self) -> str: ...
    @property
    def shown(self) -> str: ...

    def send(self, notification: Notification) -> None:
        """Send it, within :data:`TIMEOUT_SECONDS` of silence.

        :raises NotSent: it did not get through.
        """


def channel_id(kind: str, address: str) -> str:
    """A name for an address that does not give it away."""
    digest = blake2b(f"{kind}|{address}".encode(), digest_size=6).hexdigest()
    return f"{kind}:{digest}"
