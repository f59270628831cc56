"""Keeps the periods in which nobody was watching."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection, insert

from flask_metronome.core.unknown import UnknownCause
from flask_metronome.models import unknown_periods
from flask_metronome.store import counters


def record(
    connection: Connection, *, since: datetime, until: datetime, cause: UnknownCause
) -> None:
    """Keep a period that is over, and count it."""
    connection.execute(
        insert(unknown_periods).values(from_at=since, to_at=until, cause=cause)
    )
    milliseconds = (until - since) // timedelta(milliseconds=1)
    counters.add(
        connection,
        {
            counters.CounterKey(counters.UNKNOWN, "", cause): 1,
            counters.CounterKey(counters.UNKNOWN_MS, "", cause): milliseconds,
        },
    )
