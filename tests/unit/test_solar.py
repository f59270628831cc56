"""solar: the sun's events, day by day, polar night and day included."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from celery.schedules import solar as celery_solar

from flask_metronome.core.cadence import cadence_from_dict, solar
from flask_metronome.core.solar import EVENTS
from flask_metronome.errors import CadenceInvalid

BERLIN = (52.52, 13.41)
TROMSO = (69.65, 18.96)
SPRING = datetime(2026, 3, 20, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)


def test_all_of_celerys_events_are_there() -> None:
    assert set(EVENTS) == celery_solar._all_events


def test_the_events_of_a_day_come_in_order() -> None:
    midnight = datetime(2026, 3, 20, tzinfo=UTC)
    times = [solar(event, *BERLIN).next_after(midnight) for event in EVENTS]
    assert None not in times
    assert times == sorted(times, key=str)
    assert times[-1] is not None
    assert times[-1] < midnight + DAY


@pytest.mark.parametrize(
    ("event", "lat", "lon", "expected"),
    [
        # Almanac values, to the minute and a half.
        ("sunrise", *BERLIN, "2026-06-21 02:43"),
        ("sunset", *BERLIN, "2026-06-21 19:33"),
        ("solar_noon", 51.4769, 0.0, "2026-11-03 11:44"),
        ("sunrise", 40.7128, -74.0060, "2026-12-21 12:17"),
    ],
)
def test_almanac(event: str, lat: float, lon: float, expected: str) -> None:
    wanted = datetime.fromisoformat(expected).replace(tzinfo=UTC)
    found = solar(event, lat, lon).next_after(wanted - timedelta(hours=3))
    assert found is not None
    assert abs(found - wanted) < timedelta(seconds=90)


@pytest.mark.parametrize("event", EVENTS)
def test_it_agrees_with_celery(event: str) -> None:
    theirs = celery_solar(event, *BERLIN)
    start = theirs.ephem.Date(SPRING.replace(tzinfo=None))
    wanted = theirs._next_event(start).datetime().replace(tzinfo=UTC)
    found = solar(event, *BERLIN).next_after(SPRING)
    assert found is not None
    assert abs(found - wanted) < timedelta(seconds=2)


def test_a_day_has_one_sunrise_whoever_asks() -> None:
    cadence = solar("sunrise", *BERLIN)
    found = {cadence.next_after(SPRING + timedelta(seconds=n * 997)) for n in range(60)}
    assert len(found) == 1


def test_polar_night_and_polar_day_are_skipped() -> None:
    sunrise = solar("sunrise", *TROMSO)
    in_winter = sunrise.next_after(datetime(2026, 12, 10, tzinfo=UTC))
    in_summer = sunrise.next_after(datetime(2026, 6, 10, tzinfo=UTC))
    assert in_winter is not None
    assert f"{in_winter:%Y-%m}" == "2027-01"
    assert in_summer is not None
    assert f"{in_summer:%Y-%m}" == "2026-07"
    year = sunrise.count_between(
        datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
    )
    assert 230 < year < 260
    last = sunrise.previous_at_or_before(datetime(2026, 12, 10, tzinfo=UTC))
    assert last is not None
    assert f"{last:%Y-%m}" == "2026-11"


@pytest.mark.parametrize("lon", [-180.0, -179.9, -90.0, 0.0, 90.0, 179.9, 180.0])
def test_one_sunset_a_day_at_every_longitude(lon: float) -> None:
    found = list(solar("sunset", 10.0, lon).between(SPRING, SPRING + 30 * DAY))
    assert len(found) == 30
    gaps = [later - sooner for sooner, later in pairwise(found)]
    assert max(gaps) - min(gaps) < timedelta(minutes=3)


def test_the_end_of_the_calendar_has_no_more_suns() -> None:
    last = datetime.max.replace(tzinfo=UTC)
    for event in EVENTS:
        assert solar(event, -25.1, -170).next_after(last) is None


@pytest.mark.parametrize(
    ("event", "lat", "lon", "field"),
    [
        ("moonrise", 0, 0, "event"),
        ("sunset", 91, 0, "lat"),
        ("sunset", "52", 0, "lat"),
        ("sunset", True, 0, "lat"),
        ("sunset", 0, -181, "lon"),
        ("sunset", 0, float("nan"), "lon"),
    ],
)
def test_what_is_not_on_earth_is_refused(
    event: str, lat: float, lon: float, field: str
) -> None:
    with pytest.raises(CadenceInvalid) as caught:
        solar(event, lat, lon)
    assert caught.value.field == field


def test_without_ephem_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ephem", None)
    with pytest.raises(CadenceInvalid, match=r"Flask-Metronome\[solar\]"):
        solar("sunset", *BERLIN)


def test_round_trip_and_words() -> None:
    cadence = solar("dusk_civil", -41.3, 174.8)
    assert cadence_from_dict(cadence.to_dict()) == cadence
    assert cadence.words() == "at dusk civil, seen from 41.3° S 174.8° E"
    with pytest.raises(CadenceInvalid, match="lon"):
        cadence_from_dict({"kind": "solar", "event": "sunset", "lat": 1})
