"""Inserting rows that may be there already, as each database spells it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Table, insert
from sqlalchemy.dialects import mysql, postgresql, sqlite

Row = Mapping[str, Any]


def insert_ignore(connection: Connection, table: Table, rows: Sequence[Row]) -> int:
    """Insert the rows that are not there yet; how many were new, if known."""
    if not rows:
        return 0
    name = connection.dialect.name
    statement: Any
    if name == "postgresql":
        statement = postgresql.insert(table).on_conflict_do_nothing()
    elif name == "sqlite":
        statement = sqlite.insert(table).on_conflict_do_nothing()
    else:
        statement = insert(table).prefix_with("IGNORE")
    return connection.execute(statement, list(rows)).rowcount


def upsert(
    connection: Connection,
    table: Table,
    row: Row,
    *,
    keys: Sequence[str],
    update: Mapping[str, Any],
) -> None:
    """Insert a row, or update the one with the same keys.

    :param update: column values for the row that is there already; SQL
        expressions over ``table.c`` are allowed.
    """
    statement: Any
    if connection.dialect.name in ("mysql", "mariadb"):
        statement = mysql.insert(table).values(row).on_duplicate_key_update(**update)
    elif connection.dialect.name == "postgresql":
        statement = postgresql.insert(table).values(row)
        statement = statement.on_conflict_do_update(index_elements=keys, set_=update)
    else:
        statement = sqlite.insert(table).values(row)
        statement = statement.on_conflict_do_update(index_elements=keys, set_=update)
    connection.execute(statement)
