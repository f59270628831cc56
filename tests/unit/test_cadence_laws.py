"""The laws of cadences, for every zone, against a clock hand that is moved by hand.

The oracle knows neither stretches nor searches. It walks UTC minute by minute, looks
at the wall clock, and applies the rule to what it sees: an expression that follows the
wall fires when the time shown matches; a fixed one fires when the hand has just come to
or swept over a matching time that it had not shown before.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flask_metronome.core.cadence import Cadence, cron, every, once, rrule, solar

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
FIRST, LAST = datetime(2020, 1, 1), datetime(2041, 1, 1)
ZONES = sorted(available_timezones() - {"localtime", "Factory"})


@dataclass(frozen=True)
class Field:
    """One field of an expression: its text and what it means."""

    text: str
    values: frozenset[int]


@dataclass(frozen=True)
class Expression:
    minute: Field
    hour: Field
    weekday: Field

    @property
    def text(self) -> str:
        return f"{self.minute.text} {self.hour.text} * * {self.weekday.text}"

    @property
    def follows_wall(self) -> bool:
        return self.minute.text.startswith("*") or self.hour.text.startswith("*")

    def names(self, local: datetime) -> bool:
        return (
            local.minute in self.minute.values
            and local.hour in self.hour.values
            and (local.weekday() + 1) % 7 in self.weekday.values
        )


def star(size: int) -> Field:
    return Field("*", frozenset(range(size)))


def listing(*values: int) -> Field:
    return Field(",".join(map(str, values)), frozenset(values))


def fields(size: int) -> st.SearchStrategy[Field]:
    number = st.integers(0, size - 1)
    return st.one_of(
        st.just(star(size)),
        st.integers(2, size - 1).map(
            lambda n: Field(f"*/{n}", frozenset(range(0, size, n)))
        ),
        st.sets(number, min_size=1, max_size=4).map(lambda found: listing(*found)),
        st.tuples(number, number, st.integers(1, 9)).map(
            lambda t: Field(
                f"{min(t[:2])}-{max(t[:2])}/{t[2]}",
                frozenset(range(min(t[:2]), max(t[:2]) + 1, t[2])),
            )
        ),
    )


def show(zone: ZoneInfo, utc: datetime) -> datetime:
    local = utc.replace(tzinfo=UTC).astimezone(zone)
    return local.replace(tzinfo=None, fold=0)


def offset_at(zone: ZoneInfo, utc: datetime) -> timedelta:
    return utc.replace(tzinfo=UTC).astimezone(zone).utcoffset() or timedelta()


Change = tuple[datetime, timedelta, timedelta]


@cache
def changes(tz: str) -> tuple[Change, ...]:
    """The clock changes of a zone: when, the offsets before and after."""
    zone, utc, step = ZoneInfo(tz), FIRST, timedelta(days=6)
    before, found = offset_at(zone, utc), []
    while utc < LAST:
        after = offset_at(zone, utc + step)
        if after != before:
            low, high = utc, utc + step
            while high - low > MINUTE:
                middle = low + (high - low) // MINUTE // 2 * MINUTE
                same = offset_at(zone, middle) == before
                low, high = (middle, high) if same else (low, middle)
            found.append((high, before, after))
        utc, before = utc + step, after
    return tuple(found)


@cache
def kinds() -> dict[tuple[object, ...], str]:
    """One zone for each distinct history of changes."""
    return {changes(tz): tz for tz in reversed(ZONES)}


Sky = list[tuple[datetime, datetime, datetime]]


def sky(tz: str, starts: datetime, minutes: int) -> Sky:
    """Each UTC minute, what the wall clock shows, and what it had shown before."""
    zone, found = ZoneInfo(tz), []
    earlier = [starts - n * 10 * MINUTE for n in range(1, 26 * 6)]
    reached = max(show(zone, utc) for utc in [starts - MINUTE, *earlier])
    for utc in (starts + n * MINUTE for n in range(minutes)):
        local = show(zone, utc)
        found.append((utc, local, reached))
        reached = max(reached, local)
    return found


def oracle(expression: Expression, minutes: Sky) -> list[datetime]:
    return [
        utc.replace(tzinfo=UTC)
        for utc, local, reached in minutes
        if fires(expression, local, reached)
    ]


def fires(expression: Expression, local: datetime, reached: datetime) -> bool:
    if expression.follows_wall:
        return expression.names(local)
    shown = reached + MINUTE
    while shown <= local:
        if expression.names(shown):
            return True
        shown += MINUTE
    return False


FIXED_AND_NOT = [
    Expression(listing(30), listing(0, 1, 2, 3, 23), star(7)),
    Expression(listing(0, 59), listing(0, 2), star(7)),
    Expression(Field("33-58", frozenset(range(33, 59))), listing(2), star(7)),
    Expression(Field("*/20", frozenset((0, 20, 40))), star(24), star(7)),
    Expression(star(60), listing(0, 1, 3), star(7)),
    Expression(listing(15, 45), Field("*/2", frozenset(range(0, 24, 2))), star(7)),
]


def test_every_kind_of_change_of_every_zone() -> None:
    """Zones that change by as much at the same time of day are tried once."""
    tried: dict[tuple[timedelta, timedelta, int], tuple[str, datetime]] = {}
    for tz in kinds().values():
        for utc, before, after in changes(tz):
            kind = (before, after, utc.hour * 60 + utc.minute)
            tried.setdefault(kind, (tz, utc - 4 * HOUR))
    assert len(tried) > 50
    for tz, starts in tried.values():
        minutes = sky(tz, starts, 9 * 60)
        for expression in FIXED_AND_NOT:
            cadence = cron(expression.text, tz)
            after = starts.replace(tzinfo=UTC) - timedelta(seconds=1)
            until = after + 9 * HOUR
            wanted = oracle(expression, minutes)
            found = list(cadence.between(after, until))
            assert found == wanted, (tz, expression.text, starts)
            assert cadence.count_between(after, until) == len(wanted)


@st.composite
def places(draw: st.DrawFn) -> tuple[str, datetime]:
    """A zone and a moment, most often close to a change of its clock."""
    tz = draw(st.sampled_from(ZONES))
    known = changes(tz)
    if known and draw(st.integers(0, 9)):
        about = draw(st.sampled_from(known))[0] + 4 * HOUR
    else:
        about = FIRST + timedelta(days=draw(st.integers(2, 20 * 365)))
    return tz, about - timedelta(minutes=draw(st.integers(0, 12 * 60)))


@settings(max_examples=60, deadline=None)
@given(places(), fields(60), fields(24), fields(7), st.integers(1, 900))
def test_cron_agrees_with_the_moved_hand(
    place: tuple[str, datetime], minute: Field, hour: Field, weekday: Field, span: int
) -> None:
    tz, starts = place
    expression = Expression(minute, hour, weekday)
    minutes = sky(tz, starts, span)
    wanted = oracle(expression, minutes)
    cadence = cron(expression.text, tz)
    after = starts.replace(tzinfo=UTC) - timedelta(seconds=1)
    until = minutes[-1][0].replace(tzinfo=UTC)
    assert list(cadence.between(after, until)) == wanted
    assert cadence.count_between(after, until) == len(wanted)
    assert cadence.latest_in(after, until) == (wanted[-1] if wanted else None)


CADENCES: list[Callable[[str], Cadence]] = [
    lambda tz: cron("30 2 * * *", tz),
    lambda tz: cron("*/7 * * * *", tz),
    lambda tz: cron("5/20 59 1,2,3 * * *", tz),
    lambda tz: cron("* 0 L * *", tz),
    lambda tz: cron("0 0 29 2 *", tz),
    lambda tz: cron("15 1-3 * * mon#1,5L", tz),
    lambda tz: rrule("FREQ=DAILY;BYHOUR=0,2;BYMINUTE=30", tz),
    lambda tz: rrule("FREQ=MINUTELY;INTERVAL=50", tz),
    lambda tz: rrule("FREQ=WEEKLY;INTERVAL=3;BYDAY=SU", tz, datetime(2019, 5, 1, 2)),
    lambda tz: rrule("FREQ=DAILY;COUNT=3000", tz, datetime(2020, 1, 1, 1, 30)),
    lambda tz: every(timedelta(microseconds=654_321_987)),
    lambda tz: once(datetime(2030, 6, 1, tzinfo=UTC)),
    lambda tz: solar("sunrise", 69.65, 18.96),
    lambda tz: solar("dusk_civil", -41.3, 174.8),
]


@pytest.mark.parametrize("made", CADENCES)
@settings(max_examples=25, deadline=None)
@given(places(), st.integers(0, 86_400_000_000 * 3), st.floats(0, 1))
def test_the_laws(
    made: Callable[[str], Cadence],
    place: tuple[str, datetime],
    span: int,
    share: float,
) -> None:
    cadence, a = made(place[0]), place[1].replace(tzinfo=UTC)
    c = a + timedelta(microseconds=span)
    b = a + share * (c - a)
    whole = list(cadence.between(a, c))
    assert whole == [*cadence.between(a, b), *cadence.between(b, c)]
    assert all(a < due <= c for due in whole)
    assert whole == sorted(set(whole))
    assert cadence.count_between(a, c) == len(whole)
    assert cadence.count_between(a, c, 3) == min(len(whole), 3)
    assert cadence.latest_in(a, c) == (whole[-1] if whole else None)
    following, previous = cadence.next_after(b), cadence.previous_at_or_before(b)
    assert following is None or following > b
    assert previous is None or previous <= b
    if previous is not None:
        assert cadence.next_after(previous) == following
        assert cadence.previous_at_or_before(previous) == previous
        middle = previous + (b - previous) / 2
        assert cadence.next_after(middle) == following
    if following is not None:
        before = following - timedelta(microseconds=1)
        assert cadence.next_after(before) == following
        assert cadence.previous_at_or_before(before) == previous


def test_a_daily_time_fires_once_a_day_from_2020_to_2040_in_every_zone() -> None:
    after, until = FIRST.replace(tzinfo=UTC), LAST.replace(tzinfo=UTC)
    for tz in kinds().values():
        count = cron("30 2 * * *", tz).count_between(after, until)
        assert abs(count - (LAST - FIRST).days) <= 1, tz


@pytest.mark.parametrize("tz", ["Africa/Casablanca", "Antarctica/Troll", "Asia/Gaza"])
def test_odd_zones_keep_their_order(tz: str) -> None:
    for about, _, _ in changes(tz)[:12]:
        starts = (about - 30 * HOUR).replace(tzinfo=UTC)
        found = list(cron("*/10 * * * *", tz).between(starts, starts + 40 * HOUR))
        assert {b - a for a, b in pairwise(found)} == {timedelta(minutes=10)}
