"""When schedules last began is known from the runs that are there at the upgrade."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from alembic import command
from sqlalchemy import Connection, insert, select

from flask_metronome import schema
from flask_metronome.core.cadence import every
from flask_metronome.database import Database
from flask_metronome.models import counters, runs, schedules

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def test_last_starts_go_up_and_down(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'old.sqlite'}")
    schema.init_db(database)
    config = schema._config()
    with database.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0009")
        for key in ("a", "never"):
            _add_schedule(connection, key)
        _add_run(connection, "a", 1, NOON)
        _add_run(connection, "a", 2, NOON.replace(hour=13))
        _add_run(connection, "never", 1, None)
        command.upgrade(config, "head")
        assert _kept(connection) == {"a": int(NOON.timestamp() + 3600) * 1000}
        command.downgrade(config, "0009")
        assert _kept(connection) == {}
    database.dispose()


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
