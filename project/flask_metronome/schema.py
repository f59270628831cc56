"""The schema's versions: Alembic migrations inside the package.

They have a version table and a MetaData of their own, so a host app that uses
Alembic itself is not disturbed (see :func:`models.is_metronome_table` for its
``include_name`` hook).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect

from flask_metronome.database import Database
from flask_metronome.errors import SchemaBehind

VERSION_TABLE = "metronome_alembic_version"
#: An index on a table of millions takes its time, and so does waiting for one.
_PATIENCE_SECONDS = 900.0


def init_db(database: Database) -> str:
    """Make the tables, or bring them up to date; the version that is there now."""
    return migrate(database)


def migrate(database: Database) -> str:
    """Apply what is missing; safe to call from several processes at once."""
    config = _config()
    patient = database.patient(_PATIENCE_SECONDS)
    try:
        with patient.begin() as connection, _alone(connection):
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            return current(connection) or ""
    finally:
        patient.dispose()


def check(database: Database) -> str:
    """The version, when it is the one this release needs.

    :raises SchemaBehind: when tables are missing or of another version.
    :raises DatabaseUnreachable: when the database does not answer.
    """
    expected = head()
    if database.has_no_file:
        # to look would make one, and an empty one is no better
        raise SchemaBehind(None, expected)
    with database.read() as connection:
        found = current(connection)
    if found != expected:
        raise SchemaBehind(found, expected)
    return expected


def head() -> str:
    """The version this release needs."""
    return ScriptDirectory.from_config(_config()).get_current_head() or ""


def current(connection: Connection) -> str | None:
    """The version the database has, if any."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    rows = connection.exec_driver_sql(f"SELECT version_num FROM {VERSION_TABLE}")
    return rows.scalar()


def _config() -> Config:
    config = Config()
    folder = files("flask_metronome") / "migrations"
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    return config


@contextmanager
def _alone(connection: Connection) -> Iterator[None]:
    """One migration at a time; SQLite's write lock is held already."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7203771)")
    if connection.dialect.name not in ("mysql", "mariadb"):
        yield
        return
    # tables are made outside of transactions there: the lock is the session's
    seconds = int(_PATIENCE_SECONDS)
    connection.exec_driver_sql(f"SELECT GET_LOCK('metronome_migrate', {seconds})")
    try:
        yield
    finally:
        connection.exec_driver_sql("SELECT RELEASE_LOCK('metronome_migrate')")
