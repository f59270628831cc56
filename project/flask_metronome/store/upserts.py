"""Merging a row into one that is there, and comparing spans, as each database does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    CursorResult,
    Result,
    Table,
    func,
    literal,
    text,
)
from sqlalchemy.dialects import mysql, postgresql, sqlite

from flask_metronome.models import UtcDateTime

_MICROSECOND = text("MICROSECOND")


def rows_changed(result: Result[Any]) -> int:
    """How many rows a statement touched."""
    return result.rowcount if isinstance(result, CursorResult) else 0


def insert_new(connection: Connection, table: Table, row: Mapping[str, Any]) -> bool:
    """Insert unless a row of that key is there; whether it was inserted."""
    name = connection.dialect.name
    # without the option an insert's row count is gone once its cursor is closed
    counting = {"preserve_rowcount": True}
    if name in ("mysql", "mariadb"):
        ignoring = mysql.insert(table).prefix_with("IGNORE").values(row)
        result = connection.execute(ignoring, execution_options=counting)
        return rows_changed(result) > 0
    build = postgresql.insert if name == "postgresql" else sqlite.insert
    inserted = build(table).values(row).on_conflict_do_nothing()
    result = connection.execute(inserted, execution_options=counting)
    return rows_changed(result) > 0


def merge_number(
    connection: Connection,
    table: Table,
    rows: Sequence[Mapping[str, Any]],
    *,
    column: str,
    highest: bool = False,
) -> None:
    """Insert rows; of one that is there, add to ``column`` or raise it.

    :param highest: keep the greater of both instead of their sum.
    """
    if not rows:
        return
    name = connection.dialect.name
    there = table.c[column]
    if name in ("mysql", "mariadb"):
        mine = mysql.insert(table).values(list(rows))
        new = func.greatest(there, mine.inserted[column])
        merged = new if highest else there + mine.inserted[column]
        connection.execute(mine.on_duplicate_key_update({column: merged}))
        return
    if name == "postgresql":
        other = postgresql.insert(table).values(list(rows))
        greatest = func.greatest(there, other.excluded[column])
    else:
        other = sqlite.insert(table).values(list(rows))  # type: ignore[assignment]
        greatest = func.max(there, other.excluded[column])
    merged = greatest if highest else there + other.excluded[column]
    connection.execute(
        other.on_conflict_do_update(
            index_elements=list(table.primary_key.columns), set_={column: merged}
        )
    )


def plus_seconds(
    dialect: str, moment: ColumnElement[Any], seconds: ColumnElement[Any]
) -> ColumnElement[Any]:
    """An instant column plus a column of seconds, in a form that compares.

    On SQLite instants are text, so both sides of a comparison must go through
    :func:`comparable`.
    """
    if dialect == "postgresql":
        return moment + seconds * literal(timedelta(seconds=1))
    if dialect in ("mysql", "mariadb"):
        micro = func.round(seconds * 1_000_000)
        return func.timestampadd(_MICROSECOND, micro, moment)
    return func.julianday(moment) * 86_400.0 + seconds


def comparable(dialect: str, now: datetime) -> ColumnElement[Any]:
    """An instant to compare :func:`plus_seconds` with."""
    moment = literal(now, UtcDateTime())
    if dialect == "sqlite":
        # half a millisecond: julianday is exact to one
        return func.julianday(moment) * 86_400.0 - 0.0005
    return moment
