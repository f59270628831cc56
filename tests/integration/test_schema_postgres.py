"""The migrations on PostgreSQL, from several processes at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from hand_edits import check_hand_edits
from upgraded_counters import check_last_starts, check_triggers

from flask_metronome import schema
from flask_metronome.database import Database
from flask_metronome.models import metadata


def test_four_at_once_make_the_tables_of_the_models(database_url: str) -> None:
    databases = [Database(database_url) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        versions = set(pool.map(schema.init_db, databases))
    assert versions == {schema.head()}
    with databases[0].read() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "version_table": schema.VERSION_TABLE,
                "compare_type": True,
                "include_name": lambda name, kind, _: (
                    kind != "table" or name != schema.VERSION_TABLE
                ),
            },
        )
        assert compare_metadata(context, metadata) == []
    for database in databases:
        database.dispose()


def test_an_edit_by_hand_does_what_any_edit_does(database_url: str) -> None:
    database = Database(database_url)
    schema.init_db(database)
    check_hand_edits(database)
    database.dispose()


def test_what_was_counted_goes_up_and_down(database_url: str) -> None:
    database = Database(database_url)
    schema.init_db(database)
    check_triggers(database)
    check_last_starts(database)
    database.dispose()
