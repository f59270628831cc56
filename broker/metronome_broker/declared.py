"""What a topology declares, spelled out for the broker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kombu import Queue


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeSpec:
    """An exchange to declare: its name, type and arguments; always durable."""

    name: str
    type: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSpec:
    """A quorum queue to declare and its ``(exchange, key)`` bindings."""

    name: str
    arguments: Mapping[str, Any]
    bindings: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """All of it, in the order of declaration.

    ``delayed`` are the queues that Celery's native delayed delivery leads to.
    """

    exchanges: tuple[ExchangeSpec, ...]
    queues: tuple[QueueSpec, ...]
    delayed: tuple[Queue, ...]
