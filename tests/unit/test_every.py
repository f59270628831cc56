"""every: an exact grid in elapsed time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest

from flask_metronome.core.cadence import Every, cadence_from_dict, every
from flask_metronome.errors import CadenceInvalid

NOON = datetime(2026, 3, 8, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("count", "unit", "step"),
    [
        (10, "seconds", timedelta(seconds=10)),
        (1, "second", timedelta(seconds=1)),
        (0.25, "seconds", timedelta(milliseconds=250)),
        (5, "milliseconds", timedelta(milliseconds=5)),
        (7, "microseconds", timedelta(microseconds=7)),
        (1.5, "hours", timedelta(minutes=90)),
        (3, "days", timedelta(days=3)),
        (2, "week", timedelta(weeks=2)),
        (timedelta(minutes=3), "seconds", timedelta(minutes=3)),
    ],
)
def test_steps_are_exact(count: float, unit: str, step: timedelta) -> None:
    cadence = every(count, unit)
    first = cadence.next_after(NOON)
    assert first is not None
    assert cadence.next_after(first) == first + step
    assert cadence_from_dict(cadence.to_dict()) == cadence


def test_the_grid_is_anchored_at_the_epoch() -> None:
    assert every(10).next_after(NOON + timedelta(seconds=3)) == NOON + timedelta(
        seconds=10
    )
    assert every(10).previous_at_or_before(NOON) == NOON


def test_the_grid_can_be_anchored_elsewhere_and_goes_on_before_its_anchor() -> None:
    cadence = every(1, "hours", anchor=NOON + timedelta(minutes=7))
    assert cadence.next_after(NOON) == NOON + timedelta(minutes=7)
    assert cadence.previous_at_or_before(NOON) == NOON - timedelta(minutes=53)


def test_a_third_of_a_second_does_not_drift_in_ten_years() -> None:
    cadence = every(timedelta(microseconds=333_333), anchor=NOON)
    steps = 10 * 365 * 86_400 * 3
    far = NOON + timedelta(microseconds=333_333 * steps)
    assert cadence.previous_at_or_before(far) == far
    assert cadence.count_between(NOON, far) == steps


def test_counting_agrees_with_walking_and_stops_at_the_limit() -> None:
    cadence, until = every(7), NOON + timedelta(minutes=10, seconds=3)
    walked = list(cadence.between(NOON, until))
    assert cadence.count_between(NOON, until) == len(walked)
    assert cadence.count_between(NOON, until, 5) == 5
    assert cadence.count_between(until, NOON) == 0
    assert cadence.latest_in(NOON, until) == walked[-1]
    assert cadence.latest_in(walked[-1], until) is None


def test_between_is_lazy() -> None:
    year = timedelta(days=365)
    assert len(list(islice(every(1, "microsecond").between(NOON, NOON + year), 3))) == 3


def test_the_ends_of_the_calendar() -> None:
    assert every(3, "weeks").next_after(datetime.max.replace(tzinfo=UTC)) is None
    assert every(50, "weeks").previous_at_or_before(
        datetime.min.replace(tzinfo=UTC)
    ) in {None, datetime.min.replace(tzinfo=UTC)}


def test_equal_steps_are_equal_and_hash_alike() -> None:
    assert every(60) == every(1, "minute")
    assert {every(60), every(timedelta(minutes=1))} == {every(1, "minutes")}


@pytest.mark.parametrize(
    ("count", "unit", "field"),
    [
        (0, "seconds", "every"),
        (-1, "seconds", "every"),
        (float("nan"), "seconds", "every"),
        (float("inf"), "days", "every"),
        (True, "seconds", "every"),
        ("10", "seconds", "every"),
        (1e-9, "seconds", "every"),
        (10**9, "weeks", "every"),
        (1, "fortnights", "unit"),
        (1, 5, "unit"),
        (timedelta(0), "seconds", "every"),
    ],
)
def test_a_wrong_step_names_its_field(count: float, unit: str, field: str) -> None:
    with pytest.raises(CadenceInvalid) as caught:
        every(count, unit)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("found", "field"),
    [
        ({"kind": "every"}, "every"),
        ({"kind": "every", "every": "10"}, "every"),
        ({"kind": "every", "every": 10, "anchor": "soon"}, "anchor"),
        ({"kind": "every", "every": 10, "anchor": "2026-01-01T00:00:00"}, "anchor"),
        ({"kind": "every", "every": 10, "colour": 1}, "colour"),
        ({"kind": "sometimes"}, "kind"),
        ({}, "kind"),
        ({"kind": ["every"]}, "kind"),
        (["every"], "cadence"),
    ],
)
def test_a_wrong_document_names_its_field(found: object, field: str) -> None:
    with pytest.raises(CadenceInvalid) as caught:
        cadence_from_dict(found)
    assert caught.value.field == field


def test_a_moment_without_a_zone_is_refused() -> None:
    with pytest.raises(CadenceInvalid, match="moment"):
        every(1).next_after(NOON.replace(tzinfo=None))


def test_words() -> None:
    assert every(10).words() == "every 10 seconds"
    assert every(60).words() == "every minute"
    assert every(1, "day").words() == "every day (UTC)"
    assert isinstance(every(1), Every)


def test_an_instant_without_its_offset_is_shown_as_it_came() -> None:
    said = {"kind": "every", "every": 1, "anchor": "2026-01-01T00:00:00"}
    with pytest.raises(CadenceInvalid, match="got '2026-01-01T00:00:00'"):
        cadence_from_dict(said)
