"""What a test of periodic tasks needs: a database clock that can be set."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection


class SettableClock:
    """A clock for :class:`~flask_metronome.database.Database` that only tests move.

    :param start: the first instant, aware; default noon of 2026-01-01 UTC.
    """

    def __init__(self, start: datetime | None = None) -> None:
        self.moment = start or datetime(2026, 1, 1, 12, tzinfo=UTC)

    def now(self, connection: Connection) -> datetime:
        """The instant it was set to; the connection is not asked."""
        return self.moment

    def tick(self, seconds: float) -> datetime:
        """Move on (or back, when negative) and say where it stands."""
        self.moment += timedelta(seconds=seconds)
        return self.moment

    def set(self, moment: datetime) -> None:
        """Jump to an aware instant."""
        self.moment = moment
