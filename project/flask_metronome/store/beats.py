"""Beats, known by their heartbeat rows."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, insert, update

from flask_metronome.models import beats


def register(
    connection: Connection,
    *,
    beat_id: str,
    host: str,
    pid: int,
    version: str,
    now: datetime,
) -> None:
    """A beat has started."""
    connection.execute(
        insert(beats).values(
            id=beat_id,
            host=host,
            pid=pid,
            version=version,
            started_at=now,
            heartbeat_at=now,
        )
    )


def heartbeat(
    connection: Connection, beat_id: str, *, now: datetime, **numbers: Any
) -> bool:
    """A beat lives; whether its row was still there.

    :param numbers: columns to set: ``ticks``, ``planned``, ``published``,
        ``broker_error``.
    """
    changed = connection.execute(
        update(beats)
        .where(beats.c.id == beat_id)
        .values(heartbeat_at=now, stopped_at=None, **numbers)
    )
    return changed.rowcount > 0


def stopped(connection: Connection, beat_id: str, *, now: datetime) -> None:
    """A beat has stopped on purpose."""
    connection.execute(
        update(beats).where(beats.c.id == beat_id).values(stopped_at=now)
    )


def forget(connection: Connection, *, before: datetime) -> int:
    """Drop rows of beats that were last heard of before that instant."""
    return connection.execute(
        delete(beats).where(beats.c.heartbeat_at < before)
    ).rowcount
