"""What the release with incidents does to a database that was there before it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import select, text, update

from flask_metronome import Definition, after, every, schema
from flask_metronome.database import Database
from flask_metronome.models import schedules
from flask_metronome.store import declared
from flask_metronome.store import schedules as schedule_store
from flask_metronome.store.ticks import tick
from flask_metronome.testing import SettableClock


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database(f"sqlite:///{tmp_path / 'old.sqlite'}", clock=SettableClock())
    schema.init_db(made)
    yield made
    made.dispose()


def define(key: str = "daily", **fields: object) -> Definition:
    values = {"key": key, "task": "t", "cadence": every(60).to_dict(), **fields}
    return Definition.from_dict(values)


def test_it_goes_up_and_down_and_judges_nothing_of_the_past(database: Database) -> None:
    config = schema._config()
    with database.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0002")
        connection.execute(
            text(
                "INSERT INTO metronome_schedules (id, key, task, cadence, lane, "
                "created_at, updated_at) VALUES ('s', 's', 't', '{}', 'default', "
                "'2026-01-01', '2026-01-01')"
            )
        )
        for state in ("failed", "planned"):
            connection.execute(
                text(
                    "INSERT INTO metronome_runs (id, schedule_id, schedule_key, "
                    "origin, due_at, fires_at, state, task, lane, args, kwargs, "
                    "options, revision, grace_until, late_after_seconds, "
                    "concurrency_key, updated_at) VALUES (:state, 's', 's', :state, "
                    "'2026-01-01', '2026-01-01', :state, 't', 'default', '[]', '{}', "
                    "'{}', 1, '2026-01-01', 15, 's', '2026-01-01')"
                ),
                {"state": state},
            )
    schema.migrate(database)
    with database.read() as connection:
        rows = connection.execute(text("SELECT state, judged FROM metronome_runs"))
        assert {row.state: row.judged for row in rows} == {"failed": 2, "planned": 0}


def test_a_field_that_is_new_was_not_edited_by_hand(database: Database) -> None:
    with database.begin() as connection:
        now = database.now(connection)
        declared.sync(connection, {"daily": define()}, owner="code", now=now)
        told = define().to_dict()
        del told["bad_in_a_row"], told["good_to_close"]
        connection.execute(update(schedules).values(declared=told))
        said = {"daily": define(bad_in_a_row=3)}
        assert declared.sync(connection, said, owner="code", now=now).changed
        found = schedule_store.get(connection, "daily").definition
    assert (found.bad_in_a_row, found.good_to_close) == (3, 1)


def test_an_edited_field_is_kept(database: Database) -> None:
    with database.begin() as connection:
        now = database.now(connection)
        declared.sync(connection, {"daily": define()}, owner="code", now=now)
        connection.execute(update(schedules).values(bad_in_a_row=5))
        said = {"daily": define(lane="mail")}
        declared.sync(connection, said, owner="code", now=now)
        found = schedule_store.get(connection, "daily").definition
    assert (found.bad_in_a_row, found.lane) == (5, "mail")


def test_a_hand_edit_between_cadences_is_taken_in(database: Database) -> None:
    with database.begin() as connection:
        now = database.now(connection)
        definition = define(cadence=after("import").to_dict())
        schedule_store.add(connection, definition, owner="api", who="me", now=now)

    def edit(cadence: dict[str, object]) -> tuple[str | None, bool, str]:
        with database.begin() as connection:
            connection.execute(update(schedules).values(cadence=cadence))
            tick(connection, now=now, batch=9, owner="me", lease_seconds=30)
            row = connection.execute(select(schedules)).one()
            return row.after_key, row.next_due_at is not None, row.state

    assert edit(dict(every(60).to_dict())) == (None, True, "active")
    assert edit(dict(after("other").to_dict())) == ("other", False, "active")
