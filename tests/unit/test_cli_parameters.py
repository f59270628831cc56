from __future__ import annotations

from datetime import UTC, datetime

import click
import pytest

from flask_metronome.cli.definition_options import cadence_of
from flask_metronome.cli.parameters import (
    DurationType,
    InstantType,
    JsonType,
    count_and_unit,
)
from flask_metronome.core.cadence import cadence_from_dict
from flask_metronome.errors import CadenceInvalid


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10", (10, "seconds")),
        ("10s", (10, "seconds")),
        ("5 min", (5, "minutes")),
        ("5m", (5, "minutes")),
        ("1.5 hours", (1.5, "hours")),
        ("2 Days", (2, "days")),
        ("250ms", (250, "milliseconds")),
        ("1 week", (1, "weeks")),
        ("ten", None),
        ("10 parsecs", None),
        ("-5s", None),
        ("", None),
    ],
)
def test_durations_are_read_with_their_units(
    text: str, expected: tuple[float, str] | None
) -> None:
    assert count_and_unit(text) == expected


def test_a_duration_becomes_seconds() -> None:
    assert DurationType().convert("1.5h", None, None) == 5400
    assert DurationType().convert("250 ms", None, None) == 0.25


def test_an_instant_without_offset_is_utc() -> None:
    assert InstantType().convert("2027-01-31T08:00", None, None) == datetime(
        2027, 1, 31, 8, tzinfo=UTC
    )


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (JsonType(list), '{"a": 1}'),
        (JsonType(dict), "[1]"),
        (JsonType(dict), "{"),
        (InstantType(), "tomorrow"),
        (DurationType(), "soon"),
    ],
)
def test_a_wrong_value_is_named_in_one_sentence(
    kind: click.ParamType,  # type: ignore[type-arg]
    value: str,
) -> None:
    with pytest.raises(click.BadParameter) as caught:
        kind.convert(value, None, None)
    message = caught.value.format_message()
    assert "expected" in message
    assert repr(value) in message


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"cron": "0 8 * * mon-fri", "tz": "Europe/Berlin"}, "weekday"),
        ({"every": (10, "seconds")}, "10 seconds"),
        ({"once": datetime(2027, 1, 31, 8, tzinfo=UTC)}, "2027-01-31"),
        ({"solar": "sunset,52.52,13.40"}, "sunset"),
        ({"rrule": "FREQ=WEEKLY;BYDAY=MO", "tz": "UTC"}, ""),
    ],
)
def test_each_cadence_option_makes_a_cadence(
    given: dict[str, object], words: str
) -> None:
    cadence = cadence_from_dict(cadence_of(given, "UTC"))
    assert cadence.kind == next(iter(given))
    assert words in cadence.words()


def test_no_cadence_option_means_none() -> None:
    assert cadence_of({"cron": None, "tz": None}, "UTC") is None


def test_the_zone_of_the_settings_is_the_zone_of_a_cron_without_one() -> None:
    found = cadence_of({"cron": "0 8 * * *"}, "Europe/Berlin")
    assert found is not None
    assert found["tz"] == "Europe/Berlin"


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"cron": "* * * * *", "every": (1, "hours")}, "cadence"),
        ({"every": (1, "hours"), "tz": "UTC"}, "tz"),
        ({"tz": "UTC"}, "tz"),
        ({"solar": "sunset"}, "solar"),
        ({"solar": "sunset,here,there"}, "solar"),
        ({"solar": "sunset,1,2,3"}, "solar"),
    ],
)
def test_options_that_exclude_each_other_are_named(
    given: dict[str, object], field: str
) -> None:
    with pytest.raises(CadenceInvalid) as caught:
        cadence_of(given, "UTC")
    assert caught.value.field == field
