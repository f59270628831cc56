"""Whether a part that was just started does its work."""

from __future__ import annotations

import urllib.error
import urllib.request
from datetime import timedelta

from sqlalchemy import Connection, Table, func, select
from sqlalchemy.exc import SQLAlchemyError

from flask_metronome.errors import MetronomeError
from flask_metronome.models import beats, workers
from flask_metronome.state import State

_SECONDS = 1.0


def answers(url: str) -> bool:
    """Whether a server answers there with anything but an error of its own."""
    try:
        with urllib.request.urlopen(url, timeout=_SECONDS):
            return True
    except urllib.error.HTTPError as error:
        error.close()
        return error.code < 500
    except (OSError, ValueError):
        return False


def beat_lives(state: State) -> bool:
    """Whether a beat has shown itself in the last minute."""
    return _lives(state, beats)


def worker_lives(state: State) -> bool:
    """Whether a worker has shown itself in the last minute."""
    return _lives(state, workers)


def _lives(state: State, table: Table) -> bool:
    try:
        with state.database.read() as connection:
            return _count_live(state, connection, table) > 0
    except (MetronomeError, SQLAlchemyError):
        return False


def _count_live(state: State, connection: Connection, table: Table) -> int:
    since = state.database.now(connection) - timedelta(minutes=1)
    query = (
        select(func.count())
        .select_from(table)
        .where(table.c.heartbeat_at > since, table.c.stopped_at.is_(None))
    )
    return int(connection.execute(query).scalar_one())
