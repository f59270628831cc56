"""cron where clocks change: tables to be read, zone by zone.

Each row: expression, the UTC moment after which to look, and the next instants as the
clock on the wall shows them, with its offset. ``|`` marks the change itself.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise

import pytest
from cronsim import CronSim

from flask_metronome.core.cadence import Cron, cron
from flask_metronome.core.wall_clock import wall_clock

# 2026-03-08 02:00 -05 -> 03:00 -04 · 2026-11-01 02:00 -04 -> 01:00 -05
NEW_YORK = [
    ("30 2 * * *", "2026-03-07T06", "07 02:30-05 | 08 03:00-04 09 02:30-04"),
    ("0,30 2 * * *", "2026-03-07T08", "| 08 03:00-04 09 02:00-04 09 02:30-04"),
    ("30 2,3 * * *", "2026-03-08T06", "| 08 03:00-04 08 03:30-04 09 02:30-04"),
    ("0 2,3 * * *", "2026-03-08T06", "| 08 03:00-04 09 02:00-04 09 03:00-04"),
    ("0 * * * *", "2026-03-08T05:30", "08 01:00-05 | 08 03:00-04 08 04:00-04"),
    ("*/30 2 * * *", "2026-03-08T06", "| 09 02:00-04 09 02:30-04"),
    ("30 1 * * *", "2026-11-01T05", "01 01:30-04 | 02 01:30-05"),
    ("0,30 1 * * *", "2026-11-01T04", "01 01:00-04 01 01:30-04 | 02 01:00-05"),
    (
        "*/30 * * * *",
        "2026-11-01T04:30",
        "01 01:00-04 01 01:30-04 | 01 01:00-05 01 01:30-05 01 02:00-05",
    ),
    ("15 * * * *", "2026-11-01T05", "01 01:15-04 | 01 01:15-05 01 02:15-05"),
    ("0 2 * * *", "2026-11-01T05", "| 01 02:00-05 02 02:00-05"),
    ("10 30 2 * * *", "2026-03-08T06", "| 08 03:00-04 09 02:30-04"),
]
# 2026-03-29 02:00 +01 -> 03:00 +02 · 2026-10-25 03:00 +02 -> 02:00 +01
BERLIN = [
    ("30 2 * * *", "2026-03-28T12", "| 29 03:00+02 30 02:30+02"),
    ("0 8 * * mon-fri", "2026-03-27T05", "27 08:00+01 | 30 08:00+02"),
    ("30 2 * * sun", "2026-03-28T12", "| 29 03:00+02 05 02:30+02"),
    ("30 2 * * *", "2026-10-24T12", "25 02:30+02 | 26 02:30+01"),
    ("* 2 25 10 *", "2026-10-25T00:58", "25 02:59+02 | 25 02:00+01 25 02:01+01"),
]
# Half an hour: 2026-04-05 02:00 +11 -> 01:30 +10:30 · 2026-10-04 02:00 -> 02:30
LORD_HOWE = [
    ("45 1 * * *", "2026-04-04T12", "05 01:45+11 | 06 01:45+10:30"),
    (
        "*/15 * * * *",
        "2026-04-04T14:20",
        "05 01:30+11 05 01:45+11 | 05 01:30+10:30 05 01:45+10:30 05 02:00+10:30",
    ),
    ("15 2 * * *", "2026-10-03T12", "| 04 02:30+11 05 02:15+11"),
    ("15,45 2 * * *", "2026-10-03T12", "| 04 02:30+11 04 02:45+11 05 02:15+11"),
    ("*/15 2 * * *", "2026-10-03T12", "| 04 02:30+11 04 02:45+11 05 02:00+11"),
    ("* 3 * * *", "2026-10-03T12", "| 04 03:00+11 04 03:01+11"),
]
# Off the hour: 2026-04-05 03:45 +13:45 -> 02:45 +12:45 · 2026-09-27 02:45 -> 03:45
CHATHAM = [
    ("* 3 * * *", "2026-09-26T12", "| 27 03:45+13:45 27 03:46+13:45"),
    ("* 3 * * *", "2026-04-04T13:58", "05 03:44+13:45 | 05 03:00+12:45"),
    ("0 3 * * *", "2026-09-26T12", "| 27 03:45+13:45 28 03:00+13:45"),
    ("0 3 * * *", "2026-04-04T12", "05 03:00+13:45 | 06 03:00+12:45"),
    ("44 */2 * * *", "2026-09-26T13:50", "27 02:44+12:45 | 27 04:44+13:45"),
    ("33-58 */2 * * *", "2026-04-04T13:12", "05 02:58+13:45 | 05 02:45+12:45"),
]
# Friday 2011-12-30 never was: 2011-12-29 24:00 -10 -> 2011-12-31 00:00 +14
APIA = [
    ("0 8 * * *", "2011-12-29T12", "29 08:00-10 | 31 00:00+14 31 08:00+14"),
    ("0 8 * * fri", "2011-12-29T12", "| 31 00:00+14 06 08:00+14"),
    ("0 0 * * *", "2011-12-29T12", "| 31 00:00+14 01 00:00+14"),
    ("0 */12 * * *", "2011-12-29T12", "29 12:00-10 | 31 00:00+14 31 12:00+14"),
    ("* * 30 12 *", "2011-12-29T12", "| 30 00:00+14 30 00:01+14"),
]
# At midnight: 2026-04-24 00:00 +02 -> 01:00 +03 · 2026-10-30 00:00 +03 -> 29 23:00 +02
CAIRO = [
    ("0 0 * * *", "2026-04-23T12", "| 24 01:00+03 25 00:00+03"),
    ("30 0 24 4 *", "2026-04-23T12", "| 24 01:00+03 24 00:30+02"),
    ("30 23 * * *", "2026-10-29T12", "29 23:30+03 | 30 23:30+02"),
    ("30 * * * *", "2026-10-29T20", "29 23:30+03 | 29 23:30+02 30 00:30+02"),
    ("0 0 * * *", "2026-10-29T12", "| 30 00:00+02 31 00:00+02"),
]
# Saturday 1994-12-31 never was: 1994-12-30 24:00 -10 -> 1995-01-01 00:00 +14, in the
# very hours in which UTC's year ends
KIRITIMATI = [
    ("11 23 * * sat", "1994-12-30T12", "| 01 00:00+14 07 23:11+14"),
    ("11 1,23 * * fri,sat", "1994-12-30T12", "30 23:11-10 | 01 00:00+14 06 01:11+14"),
]
KOLKATA = [
    ("30 2 * * *", "2026-03-08T00", "09 02:30+05:30 10 02:30+05:30"),
    ("*/30 * * * *", "2026-11-01T04:45", "01 10:30+05:30 01 11:00+05:30"),
]
ZONES = {
    "America/New_York": NEW_YORK,
    "Europe/Berlin": BERLIN,
    "Australia/Lord_Howe": LORD_HOWE,
    "Pacific/Chatham": CHATHAM,
    "Pacific/Apia": APIA,
    "Africa/Cairo": CAIRO,
    "Asia/Kolkata": KOLKATA,
    "Pacific/Kiritimati": KIRITIMATI,
}
ROWS = [(tz, *row) for tz, rows in ZONES.items() for row in rows]


def shown(tz: str, due: datetime) -> str:
    local = due.astimezone(wall_clock(tz).zone)
    offset = local.isoformat()[-6:].removesuffix(":00")
    return f"{local:%d %H:%M}{offset}"


def moments(expected: str) -> list[str]:
    words = expected.replace("|", "").split()
    return [f"{day} {time}" for day, time in zip(words[::2], words[1::2], strict=True)]


@pytest.mark.parametrize(("tz", "expression", "after", "expected"), ROWS)
def test_forward(tz: str, expression: str, after: str, expected: str) -> None:
    start = datetime.fromisoformat(after).replace(tzinfo=UTC)
    wanted = moments(expected)
    end = start + timedelta(days=400)
    found = islice(cron(expression, tz).between(start, end), len(wanted))
    assert [shown(tz, due) for due in found] == wanted


@pytest.mark.parametrize(("tz", "expression", "after", "expected"), ROWS)
def test_backward(tz: str, expression: str, after: str, expected: str) -> None:
    cadence, start = cron(expression, tz), datetime.fromisoformat(after)
    due = start.replace(tzinfo=UTC)
    for _ in moments(expected):
        due = cadence.next_after(due) or due
    for wanted in reversed(moments(expected)):
        assert shown(tz, due) == wanted
        previous = cadence.previous_at_or_before(due - timedelta(microseconds=1))
        assert previous is not None
        assert cadence.next_after(previous) == due
        due = previous


def in_day(cadence: Cron, day: str) -> list[datetime]:
    zone = wall_clock(cadence.tz).zone
    first = datetime.fromisoformat(day).replace(tzinfo=zone)
    last = (first.replace(tzinfo=None) + timedelta(days=1)).replace(tzinfo=zone)
    instant = timedelta(microseconds=1)
    return list(
        cadence.between(first.astimezone(UTC) - instant, last.astimezone(UTC) - instant)
    )


def test_celery_10107_the_repeated_hour_is_not_lost() -> None:
    """Celery's crontab is silent for the whole second pass (*/30, */20, hourly)."""
    for expression, a_day in (("*/30 * * * *", 50), ("*/20 * * * *", 75)):
        assert len(in_day(cron(expression, "America/New_York"), "2026-11-01")) == a_day
    assert len(in_day(cron("15 * * * *", "America/New_York"), "2026-11-01")) == 25


def test_celery_6438_every_minute_has_no_hole_at_fall_back() -> None:
    found = in_day(cron("* * * * *", "America/New_York"), "2026-11-01")
    assert len(found) == 25 * 60
    assert {b - a for a, b in pairwise(found)} == {timedelta(minutes=1)}


def test_celery_9653_a_time_in_the_gap_is_not_an_hour_late() -> None:
    """Celery moves 02:30 to 03:30; the first instant that exists is 03:00."""
    (due,) = in_day(cron("30 2 * * *", "America/New_York"), "2026-03-08")
    assert shown("America/New_York", due) == "08 03:00-04"


def test_k8s_121594_a_fixed_time_is_not_repeated() -> None:
    assert len(in_day(cron("30 1 * * *", "America/New_York"), "2026-11-01")) == 1


def test_cronsim_is_wrong_at_chatham_and_we_are_not() -> None:
    """Every minute of the hour shown as 3: 15 of them in spring, 105 in autumn."""
    cadence = cron("* 3 * * *", "Pacific/Chatham")
    assert len(in_day(cadence, "2026-09-27")) == 15
    assert len(in_day(cadence, "2026-04-05")) == 45 + 60
    cadence = cron("33-58 */2 * * *", "Pacific/Chatham")
    assert len(in_day(cadence, "2026-09-27")) == 12 * 26 - 14
    assert len(in_day(cadence, "2026-04-05")) == 12 * 26 + 14
    assert cronsim_in_day(cadence, "2026-09-27") != in_day(cadence, "2026-09-27")


def test_cronsim_is_wrong_at_lord_howe_and_we_are_not() -> None:
    cadence = cron("33-58 */2 * * *", "Australia/Lord_Howe")
    assert len(in_day(cadence, "2026-10-04")) == 12 * 26
    cadence = cron("* 2 * * *", "Australia/Lord_Howe")
    assert len(in_day(cadence, "2026-10-04")) == 30
    cadence = cron("* 1 * * *", "Australia/Lord_Howe")
    assert len(in_day(cadence, "2026-04-05")) == 90


def cronsim_in_day(cadence: Cron, day: str) -> list[datetime]:
    zone = wall_clock(cadence.tz).zone
    first = datetime.fromisoformat(day).replace(tzinfo=zone)
    last = (first.replace(tzinfo=None) + timedelta(days=1)).replace(tzinfo=zone)
    found = []
    for due in CronSim(cadence.expression, first - timedelta(seconds=1)):
        if due.astimezone(UTC) >= last.astimezone(UTC):
            break
        found.append(due.astimezone(UTC))
    return found


@pytest.mark.parametrize("day", ["2026-03-08", "2026-03-09", "2026-11-01"])
@pytest.mark.parametrize(
    "expression",
    [
        "30 2 * * *",
        "30 1 * * *",
        "*/30 * * * *",
        "0 * * * *",
        "7 */2 * * *",
        "15 1-4 * * *",
        "* 1 * * *",
        "* * * * *",
        "0 8 * * sun",
    ],
)
def test_cronsim_agrees_at_whole_hours(expression: str, day: str) -> None:
    cadence = cron(expression, "America/New_York")
    assert in_day(cadence, day) == cronsim_in_day(cadence, day)
