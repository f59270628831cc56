"""A method that clients may call on a channel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from metronome_broker.embedded.channel import Channel


@dataclass(frozen=True, slots=True)
class Method:
    """How its arguments are laid out, in py-amqp's letters, and what it does."""

    layout: str
    handle: Callable[[Channel, list[Any]], None]
