"""What every cadence shares: a line of instants that can be walked either way."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from flask_metronome.errors import CadenceInvalid

RESOLUTION = timedelta(microseconds=1)


def as_utc(moment: datetime, field: str) -> datetime:
    """The same instant in UTC.

    :raises CadenceInvalid: ``moment`` has no time zone.
    """
    if not isinstance(moment, datetime) or moment.utcoffset() is None:
        raise CadenceInvalid(field, "a datetime with a time zone", moment)
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise CadenceInvalid(field, "a year from 1 to 9999", moment) from None


def parse_instant(value: object, field: str) -> datetime:
    """Read an instant from ISO 8601 text (or a datetime).

    :raises CadenceInvalid: it is not one, or lacks its offset from UTC.
    """
    moment = value
    if isinstance(value, str):
        with suppress(ValueError):
            moment = datetime.fromisoformat(value)
    if not isinstance(moment, datetime) or moment.utcoffset() is None:
        raise CadenceInvalid(
            field, "an instant like '2026-03-08T07:00:00+00:00'", value
        )
    return as_utc(moment, field)


class Instants(ABC):
    """A line of instants; the defaults here walk it one by one."""

    __slots__ = ()

    @abstractmethod
    def next_after(self, moment: datetime) -> datetime | None:
        """The first instant strictly after ``moment``; None: never again."""

    @abstractmethod
    def previous_at_or_before(self, moment: datetime) -> datetime | None:
        """The last instant at or before ``moment``; None: there was none."""

    def between(self, after: datetime, until: datetime) -> Iterator[datetime]:
        """Every instant with ``after < t <= until``, oldest first, lazily."""
        instant = self.next_after(after)
        while instant is not None and instant <= until:
            yield instant
            instant = self.next_after(instant)

    def latest_in(self, after: datetime, until: datetime) -> datetime | None:
        """The newest instant with ``after < t <= until``."""
        instant = self.previous_at_or_before(until)
        return instant if instant is not None and instant > after else None

    def count_between(
        self, after: datetime, until: datetime, limit: int | None = None
    ) -> int:
        """How many instants have ``after < t <= until``, at most ``limit``."""
        count = 0
        for _ in self.between(after, until):
            if limit is not None and count >= limit:
                break
            count += 1
        return count


def at_most(count: int, limit: int | None) -> int:
    """``count``, cut to ``limit`` where there is one."""
    return count if limit is None else min(count, limit)
