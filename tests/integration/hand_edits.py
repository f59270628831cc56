"""What a person writes into a schedule's row, and what a beat makes of it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import DBAPIError

from flask_metronome import Definition, every
from flask_metronome.database import Database
from flask_metronome.models import runs, schedules
from flask_metronome.store import schedules as schedule_store
from flask_metronome.store.ticks import tick
from flask_metronome.testing import SettableClock

NOON = datetime.fromisoformat("2026-06-01T12:00:00Z")
HOURLY = dict(every(1, "hours").to_dict())


class Hand:
    """One schedule, edited by hand in SQL."""

    def __init__(self, database: Database, **policies: Any) -> None:
        self.database = database
        self.clock = SettableClock(NOON)
        database.clock = self.clock
        definition = Definition(
            key="k", task="t", cadence=every(10, "minutes"), overlap="allow", **policies
        )
        with database.begin() as connection:
            schedule_store.add(
                connection, definition, owner="api", who="test", now=NOON
            )

    def writes(self, **values: Any) -> None:
        """What a person says to SQL."""
        with self.database.begin() as connection:
            connection.execute(update(schedules).values(**values))

    def beat(self, minutes: float = 0) -> tuple[str, str | None, str | None]:
        """Time passes, a beat ticks: state, error and next due time."""
        self.clock.tick(minutes * 60)
        with self.database.begin() as connection:
            now = self.database.now(connection)
            tick(connection, now=now, batch=9, owner="b", lease_seconds=30)
            row = connection.execute(select(schedules)).one()
        due = row.next_due_at
        return row.state, row.error, None if due is None else f"{due:%H:%M}"

    def set_aside(self, error: str | None) -> str:
        """What a beat does whose batch the database refused; the state then."""
        with self.database.begin() as connection:
            found = connection.execute(select(schedules.c.id)).scalar_one()
            now = self.database.now(connection)
            schedule_store.set_aside(connection, found, str(error), now=now)
            return str(connection.execute(select(schedules.c.state)).scalar_one())

    def left(self) -> list[tuple[str, str | None, str, int]]:
        """The rows of its due times."""
        with self.database.read() as connection:
            found = connection.execute(select(runs).order_by(runs.c.due_at)).all()
        return [
            (row.state, row.reason, f"{row.due_at:%H:%M}", row.missed_count)
            for row in found
        ]


def check_hand_edits(database: Database) -> None:
    """An edit by hand does what the same edit by the API does."""
    hand = Hand(database, max_runs=1)
    assert hand.beat(10) == ("finished", None, None)
    hand.writes(end_at=NOON + timedelta(days=1))
    assert hand.beat() == ("finished", None, None)
    hand.writes(max_runs=None)
    assert hand.beat(5) == ("active", None, "12:20")
    hand.writes(catchup="sometimes")
    state, error, _ = hand.beat(5)
    assert (state, str(error)[:8]) == ("broken", "catchup:")
    # another beat, later by a moment, mends nothing
    assert hand.set_aside(error) == "broken"
    hand.writes(catchup="none")
    # 12:20 was not planned by anyone, and an edit fires nothing of the past
    assert hand.beat(1) == ("active", None, "12:30")
    hand.writes(state="paused")
    assert hand.beat(60)[0] == "paused"
    hand.writes(state="active")
    assert hand.beat() == ("active", None, "13:30")
    assert hand.left()[1:] == [("skipped", "paused", "12:20", 7)]
    with pytest.raises(DBAPIError, match="state: expected active"):
        hand.writes(state="enabled")
    hand.writes(state="retired")
    hand.writes(cadence=HOURLY)
    assert hand.beat(60)[0] == "retired"
