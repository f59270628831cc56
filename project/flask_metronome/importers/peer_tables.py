"""Another beat's tables, read by name and never written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import (
    ColumnClause,
    Connection,
    column,
    create_engine,
    inspect,
    select,
    table,
)
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from flask_metronome.database import sync_url
from flask_metronome.errors import DatabaseUnreachable, SettingInvalid, SourceUnreadable

Row = dict[str, Any]


class PeerTables:
    """The tables of one database.

    Their columns are taken as they are there, because they differ between versions
    of a peer; values come as the driver gives them.
    """

    def __init__(self, connection: Connection, schema: str | None, url: str) -> None:
        self._connection = connection
        self._schema = schema or None
        self._url = url

    def rows(self, name: str) -> list[Row]:
        """All rows of a table, by id.

        :raises SourceUnreadable: there is no such table.
        """
        inspector = inspect(self._connection)
        if not inspector.has_table(name, schema=self._schema):
            raise SourceUnreadable(f"The database {self._url} has no table {name}.")
        there = inspector.get_columns(name, schema=self._schema)
        # untyped: what a column may hold is judged row by row
        columns: list[ColumnClause[Any]] = [column(one["name"]) for one in there]
        statement = select(*columns).select_from(table(name, schema=self._schema))
        found = self._connection.execute(statement.order_by(column("id")))
        return [dict(row._mapping) for row in found]

    def by_id(self, name: str) -> dict[Any, Row]:
        """The rows of a table by their id."""
        return {row["id"]: row for row in self.rows(name)}


@contextmanager
def peer_tables(
    url: str, *, schema: str | None = None, timeout_seconds: float = 10.0
) -> Iterator[PeerTables]:
    """The tables of a peer's database, while it is open.

    :param url: a SQLAlchemy URL.
    :param schema: where the tables are, when not in the default one.
    :param timeout_seconds: deadline of connecting and of one statement.
    :raises SourceUnreadable: the URL names nothing that could be read.
    :raises DatabaseUnreachable: the database does not answer.
    """
    parsed = _parsed(url)
    public = parsed.render_as_string(hide_password=True)
    arguments = _arguments(parsed.get_backend_name(), timeout_seconds)
    engine = create_engine(
        _read_only(parsed, public), connect_args=arguments, poolclass=NullPool
    )
    try:
        with engine.connect() as connection:
            yield PeerTables(connection, schema, public)
    except DBAPIError as error:
        raise DatabaseUnreachable(public, error.orig or error) from error
    finally:
        engine.dispose()


def _parsed(url: str) -> URL:
    try:
        return sync_url(url)
    except SettingInvalid as error:
        raise SourceUnreadable(
            f"--url: expected {error.expected}, got {error.got}."
        ) from error


def _read_only(url: URL, public: str) -> URL:
    """The URL; of SQLite so that nothing is made where nothing is."""
    if url.get_backend_name() != "sqlite":
        return url
    path = Path(str(url.database))
    if not path.is_file():
        raise SourceUnreadable(f"The database {public} is not there.")
    return url.set(
        database=f"file:{quote(str(path.absolute()))}",
        query={"mode": "ro", "uri": "true"},
    )


def _arguments(backend: str, timeout_seconds: float) -> dict[str, Any]:
    whole = max(2, int(timeout_seconds))
    if backend == "sqlite":
        return {"timeout": timeout_seconds}
    if backend == "postgresql":
        milliseconds = int(timeout_seconds * 1000)
        return {
            "connect_timeout": whole,
            "options": f"-c statement_timeout={milliseconds} -c timezone=UTC",
        }
    return {
        "connect_timeout": whole,
        "read_timeout": whole,
        "init_command": "SET time_zone='+00:00'",
    }
