"""Durations that were counted before they were kept by outcome go on."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from sqlalchemy import Connection, insert, select

from flask_metronome import schema
from flask_metronome.database import Database
from flask_metronome.models import counters

_OLD = {
    ("run_duration", "60.0"): 3,
    ("run_duration_ms", ""): 90_000,
    ("start_delay", "5.0"): 1,
}
_NEW = {
    ("run_duration", "succeeded:60.0"): 3,
    ("run_duration_ms", "succeeded:"): 90_000,
    ("start_delay", "5.0"): 1,
}


def test_what_was_counted_goes_up_and_down(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'old.sqlite'}")
    schema.init_db(database)
    config = schema._config()
    with database.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0008")
        for (name, label), value in _OLD.items():
            row = {"name": name, "label": label, "schedule_key": "a", "value": value}
            connection.execute(insert(counters).values(row))
        command.upgrade(config, "head")
        assert _counted(connection) == _NEW
        failed = {"name": "run_duration", "label": "other:1.0", "schedule_key": "a"}
        connection.execute(insert(counters).values({**failed, "value": 1}))
        command.downgrade(config, "0008")
        assert _counted(connection) == _OLD
    database.dispose()


def _counted(connection: Connection) -> dict[tuple[str, str], int]:
    rows = connection.execute(select(counters))
    return {(row.name, row.label): row.value for row in rows}
