"""What upgrades and downgrades make of what was counted, on any database."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from alembic import command
from sqlalchemy import Connection, insert, select

from flask_metronome import schema
from flask_metronome.core.cadence import every
from flask_metronome.database import Database
from flask_metronome.models import counters, runs, schedules

Counted = dict[tuple[str, str, str], int]
_OLD: Counted = {
    ("runs", "a", "failed"): 3,
    ("runs", "b", "succeeded"): 5,
    ("attempts_lost", "", "exit"): 2,
    ("attempts", "a", "failed"): 4,
}
_NEW: Counted = {
    ("runs", "a", "auto:failed"): 3,
    ("runs", "b", "auto:succeeded"): 5,
    ("attempts_lost", "", "exit"): 2,
    ("attempts", "a", "failed"): 4,
}
_SINCE: Counted = {
    ("runs", "a", "manual:failed"): 1,
    ("runs", "b", "backfill:failed"): 0,
    ("attempts_lost", "shop.tick", "exit"): 1,
    ("attempts_lost", "shop.tick", "vanished"): 1,
}
_BACK: Counted = {
    ("runs", "a", "failed"): 4,
    ("runs", "b", "succeeded"): 5,
    ("runs", "b", "failed"): 0,
    ("attempts_lost", "", "exit"): 3,
    ("attempts_lost", "", "vanished"): 1,
    ("attempts", "a", "failed"): 4,
}
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def check_triggers(database: Database) -> None:
    """Runs and losses that were counted before they were kept apart go on."""
    config = schema._config()
    with database.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0010")
        _count(connection, _OLD)
        command.upgrade(config, "head")
        assert _counted(connection) == _NEW
        _count(connection, _SINCE)
        command.downgrade(config, "0010")
        assert _counted(connection) == _BACK
        command.upgrade(config, "head")


def check_last_starts(database: Database) -> None:
    """When schedules last began is known from the runs that are there."""
    config = schema._config()
    with database.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0009")
        for key in ("a", "never"):
            _add_schedule(connection, key)
        _add_run(connection, "a", 1, NOON)
        _add_run(connection, "a", 2, NOON.replace(hour=13, microsecond=500_000))
        _add_run(connection, "never", 1, None)
        command.upgrade(config, "head")
        assert _kept(connection) == {"a": int(NOON.timestamp() + 3600) * 1000 + 500}
        command.downgrade(config, "0009")
        assert _kept(connection) == {}
        command.upgrade(config, "head")


def _count(connection: Connection, sums: Counted) -> None:
    for (name, whose, label), value in sums.items():
        row = {"name": name, "schedule_key": whose, "label": label, "value": value}
        connection.execute(insert(counters).values(row))


def _counted(connection: Connection) -> Counted:
    rows = connection.execute(select(counters))
    return {(row.name, row.schedule_key, row.label): row.value for row in rows}


def _kept(connection: Connection) -> dict[str, int]:
    rows = connection.execute(
        select(counters).where(counters.c.name == "last_start_ms")
    )
    return {row.schedule_key: row.value for row in rows}


def _add_schedule(connection: Connection, key: str) -> None:
    values: dict[str, Any] = {
        "id": key, "key": key, "task": "t", "cadence": every(60).to_dict(),
        "lane": "default", "args": [], "kwargs": {}, "options": {},
        "created_at": NOON, "updated_at": NOON,
    }  # fmt: skip
    connection.execute(insert(schedules).values(values))


def _add_run(
    connection: Connection, key: str, number: int, started_at: datetime | None
) -> None:
    due_at = NOON.replace(minute=number)
    values: dict[str, Any] = {
        "id": f"{key}{number}", "schedule_id": key, "schedule_key": key,
        "origin": "auto", "due_at": due_at, "fires_at": due_at, "state": "failed",
        "task": "t", "lane": "default", "args": [], "kwargs": {}, "options": {},
        "revision": 1, "grace_until": due_at, "late_after_seconds": 15.0,
        "concurrency_key": key, "started_at": started_at, "counted": True,
        "updated_at": due_at,
    }  # fmt: skip
    connection.execute(insert(runs).values(values))
