"""cron: what an expression names, what it refuses, and how it is counted."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest

from flask_metronome.core.cadence import cadence_from_dict, cron, once
from flask_metronome.errors import CadenceInvalid

START = datetime(2026, 1, 1, tzinfo=UTC)  # a Thursday

TABLE = [
    ("*/15 * * * *", "01-01 00:15, 01-01 00:30, 01-01 00:45"),
    ("0 8 * * mon-fri", "01-01 08:00, 01-02 08:00, 01-05 08:00"),
    ("0 8 * * 1-5", "01-01 08:00, 01-02 08:00, 01-05 08:00"),
    ("0 9 * * 0", "01-04 09:00, 01-11 09:00, 01-18 09:00"),
    ("0 9 * * 7", "01-04 09:00, 01-11 09:00, 01-18 09:00"),
    ("30 6,18 * JAN *", "01-01 06:30, 01-01 18:30, 01-02 06:30"),
    ("0 10-14/2 * * *", "01-01 10:00, 01-01 12:00, 01-01 14:00"),
    ("0 0 L * *", "01-31 00:00, 02-28 00:00, 03-31 00:00"),
    ("0 0 LW * *", "01-30 00:00, 02-27 00:00, 03-31 00:00"),
    ("0 0 * * 5L", "01-30 00:00, 02-27 00:00, 03-27 00:00"),
    ("0 0 * * mon#2", "01-12 00:00, 02-09 00:00, 03-09 00:00"),
    ("0 0 13 * fri", "01-02 00:00, 01-09 00:00, 01-13 00:00"),
    ("0 0 */10 * fri", "05-01 00:00, 07-31 00:00, 08-21 00:00"),
    ("0 5-5/2 * * *", "01-01 05:00, 01-02 05:00, 01-03 05:00"),
    ("0 5/9 * * *", "01-01 05:00, 01-01 14:00, 01-01 23:00"),
    ("@hourly", "01-01 01:00, 01-01 02:00, 01-01 03:00"),
    ("@daily", "01-02 00:00, 01-03 00:00, 01-04 00:00"),
    ("@midnight", "01-02 00:00, 01-03 00:00, 01-04 00:00"),
    ("@weekly", "01-04 00:00, 01-11 00:00, 01-18 00:00"),
    ("@Monthly", "02-01 00:00, 03-01 00:00, 04-01 00:00"),
    ("0 0 1 2,4,6 *", "02-01 00:00, 04-01 00:00, 06-01 00:00"),
]


@pytest.mark.parametrize(("expression", "expected"), TABLE)
def test_what_an_expression_names(expression: str, expected: str) -> None:
    found = islice(cron(expression).between(START, datetime.max.replace(tzinfo=UTC)), 3)
    assert ", ".join(f"{due:%m-%d %H:%M}" for due in found) == expected


def test_the_first_of_six_fields_is_the_second() -> None:
    found = islice(cron("*/20 59 23 * * *").between(START, START + timedelta(9)), 4)
    assert [f"{due:%d %H:%M:%S}" for due in found] == [
        "01 23:59:00",
        "01 23:59:20",
        "01 23:59:40",
        "02 23:59:00",
    ]


def test_both_days_takes_the_day_that_is_both() -> None:
    friday_13th = cron("0 0 13 * fri", both_days=True)
    found = friday_13th.next_after(START)
    assert found == datetime(2026, 2, 13, tzinfo=UTC)
    assert cadence_from_dict(friday_13th.to_dict()) == friday_13th
    assert friday_13th != cron("0 0 13 * fri")


def test_leap_day_is_found_forward_and_back() -> None:
    leap = cron("0 0 29 2 *")
    assert leap.next_after(START) == datetime(2028, 2, 29, tzinfo=UTC)
    assert leap.previous_at_or_before(START) == datetime(2024, 2, 29, tzinfo=UTC)


@pytest.mark.parametrize(
    "expression",
    [
        "0 0 30 2 *",
        "0 0 31 2,4,6,9,11 *",
        "0 0 LW * */6",
        "0 0 */31 * 5#2",
        "",
        "* * * *",
        "* * * * * * *",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * * 13 *",
        "* * * * 8",
        "* * * * mon#6",
        "*/0 * * * *",
        "5-1 * * * *",
        "a * * * *",
        "1,,2 * * * *",
        "-1 * * * *",
        "* * * * ²L",
        "@reboot",
        "@often",
        "9" * 5000 + " * * * *",
    ],
)
def test_what_cannot_be_met_or_read_is_refused(expression: str) -> None:
    with pytest.raises(CadenceInvalid) as caught:
        cron(expression)
    assert caught.value.field == "expression"
    assert len(str(caught.value)) < 400


def test_reboot_is_refused_with_its_reason() -> None:
    with pytest.raises(CadenceInvalid, match="a start is not one"):
        cron("@reboot")


@pytest.mark.parametrize(
    "zone", ["Mars/Olympus", "", "../UTC", "America", "localtime", "Europe/Berlin\0"]
)
def test_an_unknown_zone_is_refused(zone: str) -> None:
    with pytest.raises(CadenceInvalid) as caught:
        cron("@daily", tz=zone)
    assert caught.value.field == "tz"


def test_a_zone_may_be_an_object() -> None:
    assert cron("@daily", tz=ZoneInfo("Asia/Tokyo")).tz == "Asia/Tokyo"
    assert cron("@daily", tz=UTC).tz == "UTC"


@pytest.mark.parametrize(
    ("found", "field"),
    [
        ({"kind": "cron"}, "expression"),
        ({"kind": "cron", "expr": "@daily"}, "expr"),
        ({"kind": "cron", "expression": 5}, "expression"),
        ({"kind": "cron", "expression": "@daily", "tz": 5}, "tz"),
        ({"kind": "cron", "expression": "@daily", "both_days": 1}, "both_days"),
        ({"kind": "cron", "expression": "@daily", "zone": "UTC"}, "zone"),
    ],
)
def test_a_wrong_document_names_its_field(found: object, field: str) -> None:
    with pytest.raises(CadenceInvalid) as caught:
        cadence_from_dict(found)
    assert caught.value.field == field


def test_it_is_a_plain_value() -> None:
    cadence = cron("  0  8 * * mon-fri ", tz="Europe/Berlin")
    assert cadence == cron("0 8 * * mon-fri", tz="Europe/Berlin")
    assert cadence_from_dict(cadence.to_dict()) == cadence
    assert hash(pickle.loads(pickle.dumps(cadence))) == hash(cadence)


@pytest.mark.parametrize(
    "expression",
    ["* * * * *", "7-50/3 2,5 * * 1", "0 0 L * *", "30 2 * * *", "5,35 */6 8-12 * *"],
)
def test_counting_agrees_with_walking(expression: str) -> None:
    cadence = cron(expression, tz="Europe/Berlin")
    for days, minutes in ((0, 1), (2, 3 * 60 + 7), (40, 11), (400, 59)):
        after = datetime(2026, 3, 27, 22, 13, 11, tzinfo=UTC)
        until = after + timedelta(days=days if expression[0] != "*" else days / 80)
        until += timedelta(minutes=minutes)
        walked = sum(1 for _ in cadence.between(after, until))
        assert cadence.count_between(after, until) == walked


def test_counting_five_years_of_seconds_does_not_walk_them() -> None:
    cadence = cron("* * * * * *", tz="Europe/Berlin")
    until = START + timedelta(days=5 * 365)
    assert cadence.count_between(START, until) == 5 * 365 * 86_400
    assert cadence.count_between(START, until, 1000) == 1000


def test_once() -> None:
    at = datetime(2026, 3, 8, 7, 0, tzinfo=UTC)
    cadence = once(at.astimezone(ZoneInfo("Asia/Tokyo")))
    before, after = at - timedelta(microseconds=1), at + timedelta(days=1)
    assert cadence.next_after(before) == at
    assert cadence.next_after(at) is None
    assert cadence.previous_at_or_before(at) == at
    assert cadence.previous_at_or_before(before) is None
    assert list(cadence.between(before, after)) == [at]
    assert cadence.count_between(before, after) == 1
    assert cadence.latest_in(at, after) is None
    assert cadence_from_dict(cadence.to_dict()) == cadence
    with pytest.raises(CadenceInvalid, match="at: expected"):
        once(at.replace(tzinfo=None))
    with pytest.raises(CadenceInvalid, match="at: expected"):
        cadence_from_dict({"kind": "once", "at": "tomorrow"})
