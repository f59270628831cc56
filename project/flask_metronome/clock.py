"""The one clock that decides: the database's.

A host's clock is used only to sleep, monotonic time only to measure.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Protocol

from sqlalchemy import Connection, text

_SQL = {
    "postgresql": "SELECT clock_timestamp()",
    "sqlite": "SELECT strftime('%Y-%m-%dT%H:%M:%f', 'now')",
    "mysql": "SELECT utc_timestamp(6)",
    "mariadb": "SELECT utc_timestamp(6)",
}


class Clock(Protocol):
    """Says what time it is, as the database sees it."""

    def now(self, connection: Connection) -> datetime:
        """The instant now, aware, in UTC."""


class DatabaseClock:
    """The database server's own clock."""

    def now(self, connection: Connection) -> datetime:
        """Ask the server; one round trip."""
        value = connection.execute(text(now_sql(connection.dialect.name))).scalar_one()
        return as_utc(value)


def now_sql(dialect: str) -> str:
    """The statement that reads the clock on this kind of database."""
    return _SQL[dialect]


def as_utc(value: datetime | str) -> datetime:
    """What the clock statement answered, as an aware UTC instant."""
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    return moment.astimezone(UTC)
