"""PostgreSQL tells sleeping beats of edits."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import text, update

from flask_metronome import Definition, every, schema
from flask_metronome.database import Database
from flask_metronome.models import schedules
from flask_metronome.store import schedules as schedule_store
from flask_metronome.wakeups import CHANNEL, Wakeups

#: Sleeps until it is told; the sleep itself is much longer.
PATIENCE_SECONDS = 60.0
SLEEP_SECONDS = 600.0

LISTENERS = text(
    "SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
    f"AND query = 'LISTEN {CHANNEL}'"
)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    made = Database(database_url)
    schema.init_db(made)
    with made.begin() as connection:
        now = made.now(connection)
        schedule_store.add(
            connection,
            Definition(key="k", task="t", cadence=every(7, "days")),
            owner="api",
            who="test",
            now=now,
        )
    yield made
    made.dispose()


@contextmanager
def listening(database: Database) -> Iterator[Wakeups]:
    wakeups = Wakeups(database)
    wakeups.start()
    try:
        assert listener(database) is not None
        # what was edited before it listened
        assert wakeups.sleep(PATIENCE_SECONDS)
        yield wakeups
    finally:
        wakeups.stop()


def listener(database: Database, *, other_than: int | None = None) -> int | None:
    """The listening session's process, once there is one."""
    give_up = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < give_up:
        with database.read() as connection:
            pid = connection.execute(LISTENERS).scalar()
        if pid not in (None, other_than):
            return int(pid)
        time.sleep(0.05)
    return None


def edit_by_hand(database: Database, **values: object) -> None:
    with database.begin() as connection:
        connection.execute(update(schedules).values(values))


def test_an_edit_by_hand_wakes_a_sleeper(database: Database) -> None:
    with listening(database) as wakeups:
        edit_by_hand(database, cadence=every(5, "days").to_dict())
        assert wakeups.sleep(SLEEP_SECONDS)
        edit_by_hand(database, state="paused")
        edit_by_hand(database, state="active")
        assert wakeups.sleep(SLEEP_SECONDS)


def test_whoever_listened_listens_again_when_its_session_was_ended(
    database: Database,
) -> None:
    with listening(database) as wakeups:
        first = listener(database)
        with database.begin() as connection:
            connection.execute(text("SELECT pg_terminate_backend(:p)"), {"p": first})
        assert listener(database, other_than=first) is not None
        assert wakeups.sleep(PATIENCE_SECONDS), "edits in between must not be missed"
        edit_by_hand(database, cadence=every(5, "days").to_dict())
        assert wakeups.sleep(SLEEP_SECONDS)
