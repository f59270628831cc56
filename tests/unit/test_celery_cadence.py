"""Celery's schedules, taken in: the same instants, in the same zone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery
from celery.schedules import crontab, schedule
from celery.schedules import solar as celery_solar
from dateutil.rrule import FR, MO, WEEKLY

from flask_metronome.celery_cadence import cadence_from_celery
from flask_metronome.core.cadence import Cron, cron, every, once, rrule, solar
from flask_metronome.errors import CadenceInvalid

NOON = datetime(2026, 3, 8, 12, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def app() -> Celery:
    made = Celery("zones", set_as_current=False)
    made.conf.timezone = "America/New_York"
    return made


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (10, every(10)),
        (0.5, every(500, "milliseconds")),
        (timedelta(minutes=3), every(3, "minutes")),
        (schedule(30.0), every(30)),
        (schedule(timedelta(hours=1), relative=True), every(1, "hours")),
        (celery_solar("sunset", 52.5, 13.4), solar("sunset", 52.5, 13.4)),
        (cron("@daily"), cron("@daily")),
        (SimpleNamespace(clocked_time=NOON), once(NOON)),
    ],
)
def test_intervals_and_others(theirs: object, ours: object) -> None:
    assert cadence_from_celery(theirs) == ours


@pytest.mark.parametrize(
    ("given", "expression"),
    [
        ({}, "* * * * *"),
        ({"minute": 0, "hour": 8}, "0 8 * * *"),
        ({"minute": "*/15"}, "*/15 * * * *"),
        ({"minute": [0, 30], "hour": {6, 18}}, "0,30 6,18 * * *"),
        ({"minute": "0", "hour": "8-10"}, "0 8,9,10 * * *"),
        ({"minute": "0", "hour": "22-2"}, "0 0,1,2,22,23 * * *"),
        ({"minute": 0, "hour": 0, "day_of_week": "monday"}, "0 0 * * 1"),
        ({"minute": 0, "hour": 0, "day_of_week": "fri-mon"}, "0 0 * * 0,1,5,6"),
        ({"minute": 0, "hour": 0, "day_of_week": "0-6"}, "0 0 * * *"),
        ({"minute": 0, "hour": 0, "month_of_year": "*/3"}, "0 0 * */3 *"),
        ({"minute": "*/7,5", "hour": 1}, "*/7,5 1 * * *"),
        ({"minute": "*/7, 5", "hour": "1, 2"}, "*/7,5 1,2 * * *"),
    ],
)
def test_crontabs(app: Celery, given: dict[str, Any], expression: str) -> None:
    found = cadence_from_celery(crontab(**given, app=app))
    assert found == cron(expression, "America/New_York")


def test_a_crontab_with_both_days_means_both(app: Celery) -> None:
    theirs = crontab(minute=0, hour=0, day_of_month="1-7", day_of_week="mon", app=app)
    found = cadence_from_celery(theirs, tz="UTC")
    assert found == cron("0 0 1,2,3,4,5,6,7 * 1", both_days=True)
    due = [f"{due:%m-%d}" for due in found.between(NOON, NOON + timedelta(days=92))]
    assert due == ["04-06", "05-04", "06-01"]


def test_the_zone_can_be_said(app: Celery) -> None:
    found = cadence_from_celery(crontab(app=app), tz="Asia/Tokyo")
    assert isinstance(found, Cron)
    assert found.tz == "Asia/Tokyo"


def test_every_crontab_fires_when_celery_says_so(app: Celery) -> None:
    """Away from clock changes the two agree."""
    last = datetime(2026, 6, 3, 5, 0, tzinfo=UTC)
    for given in (
        {"minute": "*/20", "hour": "1-5", "day_of_week": "1-5"},
        {"minute": "7", "hour": "*/8", "day_of_month": "*/10"},
        {"minute": "59", "hour": "23", "month_of_year": "6,12", "day_of_month": "30"},
    ):
        theirs = crontab(**given, app=app, nowfun=lambda: last)
        # before 5.7 Celery reads a moment's fields in the zone it comes in
        wanted = last + theirs.remaining_estimate(last.astimezone(theirs.tz))
        found = cadence_from_celery(theirs).next_after(last)
        assert found is not None
        assert abs(found - wanted) < timedelta(seconds=1)


def rule(**given: Any) -> SimpleNamespace:
    """An rrule as redbeat keeps it."""
    names = (
        "count until bysetpos bymonth bymonthday byyearday byeaster byweekno wkst "
        "byweekday byhour byminute bysecond"
    )
    empty = dict.fromkeys(names.split())
    return SimpleNamespace(**{**empty, "interval": 1, "dtstart": NOON, **given})


def test_an_rrule_of_redbeat() -> None:
    theirs = rule(
        freq="WEEKLY",
        byweekday=(MO, FR),
        byhour=8,
        byminute=(0, 30),
        until=NOON.replace(year=2030),
    )
    assert cadence_from_celery(theirs) == rrule(
        "FREQ=WEEKLY;INTERVAL=1;BYHOUR=8;BYMINUTE=0,30;BYDAY=MO,FR"
        ";UNTIL=20300308T120000Z",
        "UTC",
        NOON,
    )
    numbers = rule(freq=WEEKLY, byweekday=[0, 4], count=5)
    assert cadence_from_celery(numbers, tz="Europe/Berlin") == rrule(
        "FREQ=WEEKLY;INTERVAL=1;COUNT=5;BYDAY=MO,FR", "Europe/Berlin", NOON
    )


@pytest.mark.parametrize(
    "theirs",
    [
        object(),
        None,
        "0 8 * * *",
        True,
        -5,
        timedelta(0),
        schedule(None),
        rule(freq="YEARLY", byeaster=1),
        rule(freq="SECONDLY"),
    ],
)
def test_what_has_no_counterpart_is_refused(theirs: object) -> None:
    with pytest.raises(CadenceInvalid):
        cadence_from_celery(theirs)
