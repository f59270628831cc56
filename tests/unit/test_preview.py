"""preview: the next instants, with a word where clocks change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from flask_metronome.core.cadence import Cadence, cron, every, rrule
from flask_metronome.core.preview import preview
from flask_metronome.core.timing import Timing

FIRST_PASS = "clock goes back this night: this is the first pass"
SECOND_PASS = "clock goes back this night: this is the second pass"
ONCE = "clock goes back this night: runs once, in the first pass"
NEW_YORK = "America/New_York"

TABLE = [
    (
        cron("30 2 * * *", NEW_YORK),
        "2026-03-07T05",
        [
            ("07 02:30", None),
            ("08 03:00", "02:30 does not exist on this day; runs at 03:00"),
            ("09 02:30", None),
        ],
    ),
    (
        cron("0,30 2 * * *", NEW_YORK),
        "2026-03-08T05",
        [("08 03:00", "02:00 and 02:30 do not exist on this day; runs at 03:00")],
    ),
    (
        cron("1-9 2 * * *", NEW_YORK),
        "2026-03-08T05",
        [
            (
                "08 03:00",
                "02:01, 02:02, 02:03 and others do not exist on this day;"
                " runs at 03:00",
            )
        ],
    ),
    (
        cron("*/30 * * * *", NEW_YORK),
        "2026-03-08T06:20",
        [
            ("08 01:30", None),
            ("08 03:00", "clock goes forward from 02:00 to 03:00 before this"),
            ("08 03:30", None),
        ],
    ),
    (
        cron("*/30 * * * *", NEW_YORK),
        "2026-11-01T04:10",
        [
            ("01 00:30", None),
            ("01 01:00", FIRST_PASS),
            ("01 01:30", FIRST_PASS),
            ("01 01:00", SECOND_PASS),
            ("01 01:30", SECOND_PASS),
            ("01 02:00", None),
        ],
    ),
    (
        cron("30 1 * * *", NEW_YORK),
        "2026-11-01T04:10",
        [("01 01:30", ONCE), ("02 01:30", None)],
    ),
    (
        rrule("FREQ=DAILY;BYHOUR=2;BYMINUTE=15", "Australia/Lord_Howe"),
        "2026-10-02T20",
        [("04 02:30", "02:15 does not exist on this day; runs at 02:30")],
    ),
    (
        cron("0 8 * * *", "Pacific/Apia"),
        "2011-12-29T19",
        [
            (
                "31 00:00",
                "2011-12-30 08:00 does not exist on this day; runs at 2011-12-31 00:00",
            ),
            ("31 08:00", None),
        ],
    ),
    (cron("0 8 * * *", "Asia/Kolkata"), "2026-03-08T05", [("09 08:00", None)]),
    (every(1, "hours"), "2026-03-08T06:20", [("08 07:00", None), ("08 08:00", None)]),
]


@pytest.mark.parametrize(("cadence", "after", "expected"), TABLE)
def test_notes(
    cadence: Cadence, after: str, expected: list[tuple[str, str | None]]
) -> None:
    moment = datetime.fromisoformat(after).replace(tzinfo=UTC)
    found = preview(Timing(cadence=cadence), moment, len(expected))
    assert [(f"{each.local:%d %H:%M}", each.note) for each in found] == expected
    assert all(each.at == each.local.astimezone(UTC) for each in found)
    assert all(each.at.utcoffset() == timedelta() for each in found)


def test_it_ends_with_the_schedule() -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    timing = Timing(cadence=every(1, "day"), end_at=start + timedelta(days=2))
    assert len(preview(timing, start, 10)) == 2
    assert preview(timing, start, 0) == []
