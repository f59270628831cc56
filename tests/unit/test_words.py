"""Cadences in words: what they say is true, or they quote."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from flask_metronome.core.cadence import cron, every, once

CRON = [
    ("* * * * *", "every minute"),
    ("*/15 * * * *", "every 15 minutes"),
    ("0 * * * *", "every hour"),
    ("5 * * * *", "every hour, at minute 5"),
    ("5,35 * * * *", "every hour, at minutes 5 and 35"),
    ("0 */6 * * *", "every 6 hours"),
    ("30 */6 * * *", "every 6 hours, at minute 30"),
    ("*/5 * * * * *", "every 5 seconds"),
    ("* * * * * *", "every second"),
    ("0 8 * * *", "every day at 08:00"),
    ("30 0 8 * * *", "every day at 08:00:30"),
    ("0 8 * * mon-fri", "every weekday at 08:00"),
    ("0 8,12,18 * * 1-5", "every weekday at 08:00, 12:00 and 18:00"),
    ("0 9 * * mon", "every Monday at 09:00"),
    ("0 9 * * sun,wed", "every Wednesday and Sunday at 09:00"),
    ("0 9 * * 0,6", "every Saturday and Sunday at 09:00"),
    ("0 9 * * 7", "every Sunday at 09:00"),
    ("30 2 1 * *", "on day 1 of every month at 02:30"),
    ("30 2 1,15 * *", "on days 1 and 15 of every month at 02:30"),
    ("0 0 L * *", "on the last day of every month at 00:00"),
    ("0 0 LW 1,7 *", "on the last weekday of January and July at 00:00"),
    ("0 9 * * 1#1", "on the first Monday of every month at 09:00"),
    ("0 9 * * 5L", "on the last Friday of every month at 09:00"),
    ("*/10 8-18 * * 1-5", "every 10 minutes from 08:00 to 18:50, every weekday"),
    ("* 3 * * *", "every minute from 03:00 to 03:59"),
    ("0 8 * 1 *", "every day in January at 08:00"),
    ("0 8 * 1 fri", "every Friday in January at 08:00"),
    ("0 0 13 * fri", "on day 13 of every month and also every Friday, at 00:00"),
    ("@yearly", "on day 1 of January at 00:00"),
    ("@hourly", "every hour"),
    # Either day field would do, and one of them takes all days.
    ("0 8 1-31 * 1", "every day at 08:00"),
    # Not even round the hour: «every 7 minutes» would be a lie.
    ("*/7 * * * *", "cron */7 * * * *"),
    ("0 */5 * * *", "every day at 00:00, 05:00, 10:00, 15:00 and 20:00"),
    ("7-50/3 2,5 * * *", "cron 7-50/3 2,5 * * *"),
    # A day that must match both fields, which neither phrase alone says.
    ("0 0 */2 * 1", "cron 0 0 */2 * 1"),
    ("*/7 * * * * *", "cron */7 * * * * *"),
    ("0 0 L,15 * *", "cron 0 0 l,15 * *"),
]


@pytest.mark.parametrize(("expression", "words"), CRON)
def test_cron(expression: str, words: str) -> None:
    assert cron(expression, "Europe/Berlin").words() == f"{words} (Europe/Berlin)"


def test_the_zone_is_always_said() -> None:
    assert cron("0 8 * * mon-fri", "Asia/Tokyo").words().endswith("(Asia/Tokyo)")


def test_both_days_are_said() -> None:
    words = cron("0 0 13 * fri", both_days=True).words()
    assert words == "cron 0 0 13 * fri, day and weekday both matching (UTC)"


@pytest.mark.parametrize(
    ("count", "unit", "words"),
    [
        (10, "seconds", "every 10 seconds"),
        (90, "seconds", "every 90 seconds"),
        (120, "seconds", "every 2 minutes"),
        (1, "hour", "every hour"),
        (0.5, "seconds", "every 500 milliseconds"),
        (1, "day", "every day (UTC)"),
        (2, "weeks", "every 2 weeks (UTC)"),
    ],
)
def test_every(count: float, unit: str, words: str) -> None:
    assert every(count, unit).words() == words


def test_once() -> None:
    at = datetime(2026, 3, 8, 7, 0, tzinfo=UTC)
    assert once(at).words() == "once, at 2026-03-08 07:00 (UTC)"
    assert once(at.replace(second=5)).words() == "once, at 2026-03-08 07:00:05 (UTC)"
