"""rrule: RFC 5545 rules on a wall clock, without walking their past."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest
from dateutil.rrule import rrulestr

from flask_metronome.core.cadence import RRule, cadence_from_dict, rrule
from flask_metronome.errors import CadenceInvalid

START = datetime(2026, 1, 1, tzinfo=UTC)
FOREVER = datetime(9000, 1, 1, tzinfo=UTC)


def first(cadence: RRule, count: int, after: datetime = START) -> list[str]:
    return [
        f"{due:%m-%d %H:%M}" for due in islice(cadence.between(after, FOREVER), count)
    ]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("FREQ=DAILY;BYHOUR=8", ["01-01 08:00", "01-02 08:00"]),
        ("RRULE:FREQ=DAILY;BYHOUR=8", ["01-01 08:00", "01-02 08:00"]),
        ("freq=weekly;byday=mo,fr;byhour=9", ["01-02 09:00", "01-05 09:00"]),
        ("FREQ=MONTHLY;BYDAY=-1FR;BYHOUR=17", ["01-30 17:00", "02-27 17:00"]),
        (
            "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1",
            ["01-30 00:00", "02-27 00:00"],
        ),
        ("FREQ=YEARLY;BYMONTH=3;BYMONTHDAY=-1", ["03-31 00:00", "03-31 00:00"]),
        ("FREQ=YEARLY;BYWEEKNO=10;BYDAY=MO", ["03-02 00:00", "03-08 00:00"]),
        ("FREQ=MONTHLY;BYDAY=TU,2TH", ["01-06 00:00", "01-08 00:00"]),
        ("FREQ=YEARLY;BYMONTH=1,12;BYDAY=MO,2TH", ["01-05 00:00", "01-08 00:00"]),
        ("FREQ=YEARLY;BYDAY=MO,2TH", ["01-05 00:00", "01-08 00:00"]),
        ("FREQ=HOURLY;INTERVAL=5;BYMINUTE=30", ["01-01 04:30", "01-01 09:30"]),
        ("FREQ=MINUTELY;INTERVAL=45", ["01-01 00:45", "01-01 01:30"]),
    ],
)
def test_what_a_rule_names(rule: str, expected: list[str]) -> None:
    assert first(rrule(rule), 2) == expected


RULES = [
    "FREQ=YEARLY",
    "FREQ=YEARLY;INTERVAL=3;BYMONTH=2,7;BYDAY=1MO,-1SU",
    "FREQ=YEARLY;BYYEARDAY=1,100,-1",
    "FREQ=YEARLY;BYWEEKNO=1,53;BYDAY=WE",
    "FREQ=MONTHLY;INTERVAL=5",
    "FREQ=MONTHLY;BYMONTHDAY=31,-3",
    "FREQ=WEEKLY;INTERVAL=3;BYDAY=TU,SU;WKST=SU",
    "FREQ=WEEKLY;INTERVAL=2;BYDAY=TU,SU;WKST=MO",
    "FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,TU,SU;BYSETPOS=1,-1",
    "FREQ=DAILY;INTERVAL=17;BYMONTH=1,2,11",
    "FREQ=HOURLY;INTERVAL=7;BYDAY=MO,WE",
    "FREQ=MINUTELY;INTERVAL=1001",
    "FREQ=MINUTELY;INTERVAL=25;BYHOUR=3,4;BYMONTHDAY=2",
    "FREQ=MONTHLY;INTERVAL=2;UNTIL=20230615",
    "FREQ=WEEKLY;COUNT=120",
]


@pytest.mark.parametrize("rule", RULES)
def test_starting_at_the_period_at_hand_changes_nothing(rule: str) -> None:
    """dateutil, walked from the rule's own start, names the same times."""
    start = datetime(2020, 1, 31, 22, 40, 5)
    plain = rrulestr(rule, dtstart=start)
    cadence = rrule(rule, start=start)
    moment = datetime(2019, 12, 1, 3, 4, 5)
    while moment < datetime(2027, 1, 1):
        after, before = plain.after(moment), plain.before(moment, inc=True)
        aware = moment.replace(tzinfo=UTC)
        assert cadence.next_after(aware) == (after and after.replace(tzinfo=UTC))
        found = cadence.previous_at_or_before(aware)
        assert found == (before and before.replace(tzinfo=UTC))
        moment += timedelta(days=211, hours=7, minutes=3)


@pytest.mark.parametrize(
    ("tz", "rule", "after", "expected"),
    [
        # The gap: at its end. The repeated hour: in the first pass.
        ("America/New_York", "BYHOUR=2;BYMINUTE=30", "2026-03-07T08", "08 07:00"),
        ("America/New_York", "BYHOUR=1;BYMINUTE=30", "2026-10-31T08", "01 05:30"),
        ("Australia/Lord_Howe", "BYHOUR=2;BYMINUTE=15", "2026-10-03T01", "03 15:30"),
        ("Pacific/Apia", "BYHOUR=8", "2011-12-29T19", "30 10:00"),
        ("Africa/Cairo", "BYHOUR=0", "2026-04-23T12", "23 22:00"),
    ],
)
def test_clock_changes(tz: str, rule: str, after: str, expected: str) -> None:
    moment = datetime.fromisoformat(after).replace(tzinfo=UTC)
    cadence = rrule(f"FREQ=DAILY;{rule}", tz)
    due = cadence.next_after(moment)
    assert due is not None
    assert f"{due:%d %H:%M}" == expected
    following = cadence.next_after(due)
    assert following is not None
    assert following > due + timedelta(hours=1)


def test_count_is_honoured_from_the_start() -> None:
    cadence = rrule("FREQ=DAILY;COUNT=3", "Europe/Berlin", datetime(2026, 3, 28, 2, 30))
    assert first(cadence, 9) == ["03-28 01:30", "03-29 01:00", "03-30 00:30"]
    assert cadence.next_after(FOREVER) is None
    assert cadence.count_between(START, FOREVER) == 3


@pytest.mark.parametrize(
    ("until", "last"),
    [
        ("20260103", "01-03 08:00"),
        ("20260103T080000", "01-03 08:00"),
        ("20260103T075959", "01-02 08:00"),
        ("20260103T070000Z", "01-03 08:00"),
        ("20260103T065959Z", "01-02 08:00"),
    ],
)
def test_until_is_inclusive(until: str, last: str) -> None:
    cadence = rrule(f"FREQ=DAILY;BYHOUR=8;UNTIL={until}", "Europe/Berlin")
    due = cadence.previous_at_or_before(FOREVER)
    assert due is not None
    assert f"{due + timedelta(hours=1):%m-%d %H:%M}" == last
    assert cadence.next_after(due) is None


def test_an_aware_start_is_read_on_the_wall_clock_of_the_zone() -> None:
    start = datetime(2026, 7, 1, 6, 0, tzinfo=UTC)
    cadence = rrule("FREQ=DAILY", "Europe/Berlin", start)
    assert cadence.start == datetime(2026, 7, 1, 8, 0)
    assert cadence.next_after(start - timedelta(seconds=1)) == start
    assert cadence.previous_at_or_before(start - timedelta(seconds=1)) is None


def test_an_old_minutely_rule_costs_no_more_than_a_new_one() -> None:
    cadence = rrule("FREQ=MINUTELY;INTERVAL=7", "UTC", datetime(1990, 1, 1))
    begun = time.process_time()
    for day in range(100):
        assert cadence.next_after(START + timedelta(days=day)) is not None
        assert cadence.previous_at_or_before(START + timedelta(days=day)) is not None
    assert time.process_time() - begun < 1


@pytest.mark.parametrize(
    "rule",
    [
        "FREQ=DAILY;BYHOUR=8;BYSETPOS=2",
        "FREQ=HOURLY;INTERVAL=3;BYHOUR=2,23;BYSETPOS=2",
        "FREQ=MINUTELY;INTERVAL=2;BYDAY=MO,SU;BYSETPOS=-2",
        "FREQ=MINUTELY;BYMONTH=2;BYMONTHDAY=30",
        "FREQ=WEEKLY;BYDAY=MO;BYSETPOS=2",
        "FREQ=MONTHLY;BYMONTHDAY=31;BYMONTH=4,6,9,11",
        "FREQ=MONTHLY;BYMONTHDAY=1;BYSETPOS=2",
        # every seven hours it is midnight once a week, from a Thursday on
        "FREQ=HOURLY;INTERVAL=7;BYHOUR=0;BYDAY=MO",
    ],
)
def test_what_can_never_be_met_is_refused_at_once(rule: str) -> None:
    """dateutil looks for it up to the year 9999: seconds, or for ever."""
    begun = time.process_time()
    with pytest.raises(CadenceInvalid, match="some date can meet"):
        rrule(rule)
    assert time.process_time() - begun < 0.25


def test_a_rare_minute_is_found_at_once_from_either_side() -> None:
    rule = "FREQ=MINUTELY;BYMONTH=2;BYMONTHDAY=29;BYDAY=MO;BYHOUR=23;BYMINUTE=0,30"
    cadence = rrule(rule, "Europe/Berlin")
    begun = time.process_time()
    following, last = cadence.next_after(START), cadence.previous_at_or_before(START)
    assert time.process_time() - begun < 0.25
    assert following == datetime(2044, 2, 29, 22, 0, tzinfo=UTC)
    assert last == datetime(2016, 2, 29, 22, 30, tzinfo=UTC)


def test_the_minutes_of_a_decade_are_counted_by_days() -> None:
    cadence = rrule("FREQ=MINUTELY", "America/New_York")
    ends = START.replace(year=2036)
    begun = time.process_time()
    count = cadence.count_between(START, ends)
    assert time.process_time() - begun < 0.5
    # of an hour that comes twice only the first pass
    assert count == ((ends - START).days * 24 - 10) * 60
    assert cadence.count_between(START, ends, 7) == 7
    assert cadence.count_between(ends, START) == 0


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ("", "parts of"),
        ("FREQ", "parts of"),
        ("FREQ=OFTEN", "FREQ of"),
        ("BYHOUR=8", "FREQ of"),
        ("FREQ=SECONDLY", "MINUTELY or slower"),
        ("FREQ=DAILY;FREQ=DAILY", "FREQ once"),
        ("FREQ=DAILY;INTERVAL=0", "INTERVAL of 1"),
        ("FREQ=DAILY;INTERVAL=99999999", "INTERVAL of 1"),
        ("FREQ=DAILY;COUNT=2;UNTIL=20300101", "not both"),
        ("FREQ=DAILY;BYHOUR=24", "BYHOUR of 0 to 23"),
        ("FREQ=MONTHLY;BYMONTHDAY=0", "other than 0"),
        ("FREQ=WEEKLY;BYDAY=XX", "BYDAY like"),
        ("FREQ=WEEKLY;BYDAY=1MO", "MONTHLY or YEARLY"),
        ("FREQ=DAILY;BYWEEKNO=3", "YEARLY only"),
        ("FREQ=DAILY;UNTIL=soon", "UNTIL like"),
        ("FREQ=DAILY;UNTIL=20261332", "UNTIL like"),
        ("FREQ=DAILY;BYSETPOS=1", "beside another"),
        ("FREQ=DAILY;X=1", "parts of"),
        ("FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30", "some date can meet"),
        ("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", "some date can meet"),
        ("FREQ=MINUTELY;INTERVAL=1440;BYHOUR=5", "some date can meet"),
        ("FREQ=DAILY\nRRULE:FREQ=DAILY", "one rule alone"),
        ("DTSTART:20260101T080000Z\nRRULE:FREQ=DAILY", "one rule alone"),
        ("FREQ=DAILY;EXDATE=20260101", "no dates by EXDATE"),
        ("FREQ=MONTHLY;BYDAY=6MO", "at most 5 before a weekday"),
        ("FREQ=YEARLY;BYDAY=-54MO", "at most 53 before a weekday"),
        ("FREQ=YEARLY;BYMONTH=12;BYDAY=20MO", "at most 5 before a weekday"),
        ("FREQ=DAILY;" * 500, "at most 1000 characters"),
    ],
)
def test_a_wrong_rule_says_what_is_wrong(rule: str, says: str) -> None:
    with pytest.raises(CadenceInvalid, match=says) as caught:
        rrule(rule)
    assert caught.value.field == "rule"


def test_count_without_a_start_is_refused() -> None:
    with pytest.raises(CadenceInvalid, match="COUNT counts from"):
        rrule("FREQ=DAILY;COUNT=3")


@pytest.mark.parametrize("year", [1, 9999])
def test_a_start_at_the_end_of_the_calendar_is_refused(year: int) -> None:
    with pytest.raises(CadenceInvalid, match="before the year 9000"):
        rrule("FREQ=DAILY", start=datetime(year, 1, 1))


def test_round_trip_and_words() -> None:
    cadence = rrule("FREQ=DAILY;COUNT=3", "Europe/Berlin", datetime(2026, 3, 28, 2, 30))
    assert cadence_from_dict(cadence.to_dict()) == cadence
    assert cadence_from_dict(rrule("FREQ=DAILY").to_dict()) == rrule("FREQ=DAILY")
    assert cadence.words() == (
        "every day at 02:30, 3 times, from 2026-03-28 02:30 (Europe/Berlin)"
    )
    with pytest.raises(CadenceInvalid, match="start: expected"):
        cadence_from_dict({"kind": "rrule", "rule": "FREQ=DAILY", "start": "x"})


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR;BYHOUR=8", "every weekday at 08:00"),
        (
            "FREQ=WEEKLY;BYDAY=MO;BYHOUR=8,17;BYMINUTE=30",
            "every Monday at 08:30 and 17:30",
        ),
        ("FREQ=DAILY;BYDAY=SA,SU;BYHOUR=9", "every Saturday and Sunday at 09:00"),
        (
            "FREQ=DAILY;BYMONTHDAY=1;BYDAY=MO",
            "by the rule FREQ=DAILY;BYMONTHDAY=1;BYDAY=MO",
        ),
        ("FREQ=MONTHLY;BYMONTHDAY=-1", "on the last day of every month at 00:00"),
        (
            "FREQ=MONTHLY;BYDAY=-1FR;BYHOUR=17",
            "on the last Friday of every month at 17:00",
        ),
        ("FREQ=MONTHLY;BYDAY=2TU", "on the second Tuesday of every month at 00:00"),
        ("FREQ=YEARLY;BYMONTH=2;BYDAY=1MO", "on the first Monday of February at 00:00"),
        ("FREQ=YEARLY", "on day 1 of January at 00:00"),
        ("FREQ=YEARLY;BYDAY=1MO", "by the rule FREQ=YEARLY;BYDAY=1MO"),
        (
            "FREQ=DAILY;UNTIL=20261231T080000",
            "every day at 00:00, until 2026-12-31 08:00",
        ),
        ("FREQ=DAILY;INTERVAL=2", "by the rule FREQ=DAILY;INTERVAL=2"),
        ("FREQ=HOURLY", "by the rule FREQ=HOURLY"),
        (
            "FREQ=MONTHLY;BYDAY=MO;BYSETPOS=1",
            "by the rule FREQ=MONTHLY;BYDAY=MO;BYSETPOS=1",
        ),
    ],
)
def test_words_for_people(rule: str, words: str) -> None:
    assert rrule(rule, "Europe/Berlin").words() == f"{words} (Europe/Berlin)"
