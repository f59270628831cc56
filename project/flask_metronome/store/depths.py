"""What the broker holds for each lane, as a monitor saw it last."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from sqlalchemy import Connection, select

from flask_metronome.models import lane_depths
from flask_metronome.store.dialects import upsert


class Depth(Protocol):
    """Messages and consumers of one queue."""

    @property
    def messages(self) -> int:
        """Messages ready."""

    @property
    def consumers(self) -> int:
        """Who consumes."""


def are_seen(connection: Connection, *, since: datetime) -> bool:
    """Whether somebody has looked since then."""
    seen = select(lane_depths.c.name).where(lane_depths.c.seen_at >= since).limit(1)
    return connection.execute(seen).first() is not None


def write(connection: Connection, found: Mapping[str, Depth], *, now: datetime) -> None:
    """Keep what was seen just now."""
    # sorted: two writers that lock rows in one order cannot deadlock
    for name, depth in sorted(found.items()):
        values = {
            "messages": depth.messages,
            "consumers": depth.consumers,
            "seen_at": now,
        }
        row = {"name": name, **values}
        upsert(connection, lane_depths, row, keys=("name",), update=values)
