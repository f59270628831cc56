"""The cadence ``rrule``: one RFC 5545 recurrence rule on the wall clock of a zone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import lru_cache
from typing import ClassVar

from flask_metronome.core.instants import Instants, as_utc, at_most
from flask_metronome.core.json import JSON, only_keys, text_of
from flask_metronome.core.rrule_search import RuleTimes, rule_times, said_outright
from flask_metronome.core.rrule_text import parse_rule
from flask_metronome.core.rrule_words import rrule_words
from flask_metronome.core.wall_clock import WallClock, wall_clock, zone_name
from flask_metronome.errors import CadenceInvalid

_EPOCH = datetime.combine(date(1970, 1, 1), time())
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class RRule(Instants):
    """A recurrence rule whose times are fixed wall-clock times of a zone.

    A time that does not exist fires at the first instant after the gap; one that comes
    twice fires in the first pass.

    :param rule: the text of the rule.
    :param tz: an IANA zone.
    :param start: the first moment, naive, on the zone's wall clock; None: 1970.
    """

    kind: ClassVar[str] = "rrule"
    rule: str
    tz: str = "UTC"
    start: datetime | None = None

    @property
    def clock(self) -> WallClock:
        """The clock that the rule means."""
        return wall_clock(self.tz)

    def next_after(self, moment: datetime) -> datetime | None:
        """The first instant strictly after ``moment``; None: never again."""
        utc = as_utc(moment, "moment").replace(tzinfo=None)
        try:
            local = self._times.first_after(self.clock.shown_by(utc))
            return None if local is None else self._instant(local)
        except OverflowError:
            return None

    def previous_at_or_before(self, moment: datetime) -> datetime | None:
        """The last instant at or before ``moment``; None: there was none."""
        utc = as_utc(moment, "moment").replace(tzinfo=None)
        try:
            local = self._times.last_at_or_before(self.clock.shown_by(utc))
            return None if local is None else self._instant(local)
        except OverflowError:
            return None

    def count_between(
        self, after: datetime, until: datetime, limit: int | None = None
    ) -> int:
        """How many instants have ``after < t <= until``, at most ``limit``.

        A step per day where the rule goes by days or faster, else one per instant.
        """
        oldest, newest = self.next_after(after), self.latest_in(after, until)
        if oldest is None or newest is None:
            return 0
        start, stop = oldest.replace(tzinfo=None), newest.replace(tzinfo=None) + _SECOND
        total = 0
        for stretch in self.clock.stretches_from(start):
            if stretch.starts >= stop or (limit is not None and total >= limit):
                break
            total += stretch.count_fixed(start, stop, self._times.count)
        return at_most(total, limit)

    def wall_times(self, starts: datetime, ends: datetime) -> Iterator[datetime]:
        """The wall-clock times with ``starts <= t < ends``; naive."""
        found = self._times.first_after(starts - _SECOND)
        while found is not None and found < ends:
            yield found
            found = self._times.first_after(found)

    def to_dict(self) -> dict[str, JSON]:
        """As JSON."""
        found: dict[str, JSON] = {"kind": self.kind, "rule": self.rule, "tz": self.tz}
        if self.start is not None:
            found["start"] = self.start.isoformat()
        return found

    def words(self) -> str:
        """«every Monday at 08:00 (Europe/Berlin)», else «by the rule FREQ=… (…)»."""
        parts = parse_rule(self.rule, self.clock.shown_by)
        said = said_outright(parts, self.start or _EPOCH)
        return rrule_words(
            self.rule, said | {"count": parts.get("count")}, self.start, self.tz
        )

    @property
    def _times(self) -> RuleTimes:
        return _times_of(self.rule, self.tz, self.start)

    def _instant(self, local: datetime) -> datetime:
        return self.clock.instant_of(local).replace(tzinfo=UTC)


def rrule(text: str, tz: str | tzinfo = "UTC", start: datetime | None = None) -> RRule:
    """A cadence by a recurrence rule, e.g. ``FREQ=MONTHLY;BYDAY=-1FR;BYHOUR=17``.

    :param text: one rule; FREQ=MINUTELY or slower; an UNTIL without a time is the whole
        day.
    :param tz: the zone whose wall clock is meant.
    :param start: where INTERVAL and COUNT count from, and what the rule leaves unsaid
        (hour, weekday, …). Without a time zone it is on the wall clock of ``tz``.
        Default: 1970-01-01 00:00.
    :raises CadenceInvalid: the rule cannot be understood, can never be met, has COUNT
        without a start; or there is no such zone.
    """
    if not isinstance(text, str):
        raise CadenceInvalid("rule", "text", text)
    name = zone_name(tz)
    rule = text.strip().removeprefix("RRULE:")
    local = None if start is None else _wall_time(start, name)
    _times_of(rule, name, local)
    return RRule(rule=rule, tz=name, start=local)


def rrule_from_dict(found: Mapping[str, object]) -> RRule:
    """Read what :meth:`RRule.to_dict` wrote.

    :raises CadenceInvalid: a field is missing, unknown or wrong.
    """
    only_keys(found, required=("rule",), optional=("tz", "start"))
    start = found.get("start")
    if isinstance(start, str):
        with suppress(ValueError):
            start = datetime.fromisoformat(start)
    if start is not None and not isinstance(start, datetime):
        raise CadenceInvalid("start", "a time like '2026-01-05T08:00:00'", start)
    return rrule(text_of(found, "rule"), text_of(found, "tz", "UTC"), start)


def _wall_time(start: datetime, tz: str) -> datetime:
    if not isinstance(start, datetime):
        raise CadenceInvalid("start", "a datetime", start)
    if start.utcoffset() is None:
        local = start.replace(tzinfo=None)
    else:
        utc = as_utc(start, "start")
        try:
            local = utc.astimezone(wall_clock(tz).zone).replace(tzinfo=None)
        except OverflowError:
            raise CadenceInvalid("start", "a year from 1 to 9999", start) from None
    # room for a step before it, and for one after
    if not 1 < local.year < 9000:
        raise CadenceInvalid("start", "a moment before the year 9000", start)
    return local.replace(microsecond=0, fold=0)


@lru_cache(maxsize=1024)
def _times_of(rule: str, tz: str, start: datetime | None) -> RuleTimes:
    parts = parse_rule(rule, wall_clock(tz).shown_by)
    if "count" in parts and start is None:
        raise CadenceInvalid("start", "a moment that COUNT counts from", None)
    return rule_times(parts, start or _EPOCH, rule)
