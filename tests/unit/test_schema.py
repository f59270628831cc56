"""The migrations make the tables of the models, on their own and beside a host's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask import Flask
from hand_edits import check_hand_edits
from sqlalchemy import Column, Integer, MetaData, Table, inspect

from flask_metronome import schema
from flask_metronome.database import Database
from flask_metronome.errors import SchemaBehind
from flask_metronome.host_alembic import include_name, protect_from_flask_migrate
from flask_metronome.models import metadata


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database(f"sqlite:///{tmp_path / 'm.sqlite'}")
    yield made
    made.dispose()


def test_an_empty_database_is_told_what_to_do(database: Database) -> None:
    with pytest.raises(SchemaBehind, match="flask metronome init-db"):
        schema.check(database)


def test_the_migrations_make_what_the_models_say(database: Database) -> None:
    assert schema.init_db(database) == schema.head()
    with database.read() as connection:
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


def test_migrating_twice_changes_nothing(database: Database) -> None:
    assert schema.migrate(database) == schema.migrate(database)
    assert schema.check(database) == schema.head()


def test_an_edit_by_hand_does_what_any_edit_does(database: Database) -> None:
    schema.init_db(database)
    check_hand_edits(database)


def test_a_database_of_another_release_is_refused(database: Database) -> None:
    schema.init_db(database)
    with database.begin() as connection:
        connection.exec_driver_sql(
            f"UPDATE {schema.VERSION_TABLE} SET version_num = '9999'"
        )
    with pytest.raises(SchemaBehind, match="9999"):
        schema.check(database)


def test_the_history_of_migrations_is_one_line() -> None:
    config = Config()
    folder = Path(schema.__file__).parent / "migrations"
    config.set_main_option("script_location", str(folder))
    assert len(ScriptDirectory.from_config(config).get_heads()) == 1


def test_a_host_with_alembic_of_its_own_is_left_alone(database: Database) -> None:
    hosts = MetaData()
    Table("customers", hosts, Column("id", Integer, primary_key=True))
    with database.begin() as connection:
        hosts.create_all(connection)
        connection.exec_driver_sql("CREATE TABLE alembic_version (version_num TEXT)")
        connection.exec_driver_sql("INSERT INTO alembic_version VALUES ('host-1')")
    schema.init_db(database)
    with database.read() as connection:
        version = connection.exec_driver_sql("SELECT version_num FROM alembic_version")
        assert version.scalar_one() == "host-1"
        assert "customers" in inspect(connection).get_table_names()
        context = MigrationContext.configure(
            connection,
            opts={"include_name": include_name},
        )
        # with the hook the host's autogenerate sees nothing to do
        assert compare_metadata(context, hosts) == []


def test_flask_migrate_is_given_the_hook_and_keeps_one_of_its_own() -> None:
    class Migrate:  # as Flask-Migrate leaves it in app.extensions
        def __init__(self, **options: object) -> None:
            self.configure_args = options

    apps = [Flask("one"), Flask("two"), Flask("three")]
    for app in apps:
        protect_from_flask_migrate(app)
    ours, theirs = Migrate(), Migrate(include_name=len)
    apps[0].extensions["migrate"], apps[1].extensions["migrate"] = ours, theirs
    for app in apps:
        with app.app_context():
            pass
    assert ours.configure_args == {"include_name": include_name}
    assert theirs.configure_args == {"include_name": len}


def test_every_step_can_be_undone(database: Database) -> None:
    schema.init_db(database)
    config = Config()
    folder = Path(schema.__file__).parent / "migrations"
    config.set_main_option("script_location", str(folder))
    with database.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
        left = [n for n in inspect(connection).get_table_names() if "version" not in n]
    assert left == []
