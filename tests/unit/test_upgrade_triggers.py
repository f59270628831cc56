"""Runs and losses that were counted before they were kept apart go on."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from sqlalchemy import Connection, insert, select

from flask_metronome import schema
from flask_metronome.database import Database
from flask_metronome.models import counters

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


def test_what_was_counted_goes_up_and_down(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'old.sqlite'}")
    schema.init_db(database)
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
    database.dispose()


def _count(connection: Connection, sums: Counted) -> None:
    for (name, whose, label), value in sums.items():
        row = {"name": name, "schedule_key": whose, "label": label, "value": value}
        connection.execute(insert(counters).values(row))


def _counted(connection: Connection) -> Counted:
    rows = connection.execute(select(counters))
    return {(row.name, row.schedule_key, row.label): row.value for row in rows}
