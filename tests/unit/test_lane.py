"""Names, limits and routing keys of lanes."""

from __future__ import annotations

import dataclasses

import pytest

from metronome_broker import InvalidLane, Lane, lane_of, routing_key


def test_names_follow_from_the_lane() -> None:
    lane = Lane(name="reports")
    assert lane.queue_name == "metronome.reports"
    assert lane.binding == "reports.*"
    assert lane.delivery_limit == 20


@pytest.mark.parametrize("name", ["a", "0", "a-b_c9", "x" * 63])
def test_good_names(name: str) -> None:
    assert Lane(name=name).queue_name == f"metronome.{name}"


@pytest.mark.parametrize(
    "name",
    ["", "A", "-a", "_a", "a.b", "a b", "a\n", "ä", "#", "*", "x" * 64, None, 7],
)
def test_bad_names_are_refused_by_name(name: object) -> None:
    with pytest.raises(InvalidLane, match="lane name must be"):
        Lane(name=name)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["dead", "unrouted"])
def test_names_of_the_topologys_own_queues_are_refused(name: str) -> None:
    with pytest.raises(InvalidLane, match=f"must not be '{name}'"):
        Lane(name=name)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("delivery_limit", 0),
        ("delivery_limit", -1),
        ("delivery_limit", 1.5),
        ("delivery_limit", True),
        ("max_length", 0),
        ("max_length", "9"),
        ("message_ttl_seconds", 0),
        ("message_ttl_seconds", -1),
        ("message_ttl_seconds", True),
        ("message_ttl_seconds", "1"),
        ("message_ttl_seconds", 4_294_968),
        ("message_ttl_seconds", float("nan")),
    ],
)
def test_a_limit_out_of_range_names_lane_and_field(field: str, value: object) -> None:
    with pytest.raises(InvalidLane, match=rf"'mail': {field} must be"):
        Lane(name="mail", **{field: value})  # type: ignore[arg-type]


def test_ttl_is_milliseconds_for_the_broker() -> None:
    assert Lane(name="a", message_ttl_seconds=1.5).message_ttl_ms == 1500
    assert Lane(name="a").message_ttl_ms is None


def test_lane_is_a_value() -> None:
    assert Lane(name="a") == Lane(name="a")
    with pytest.raises(dataclasses.FrozenInstanceError):
        Lane(name="a").name = "b"  # type: ignore[misc]


@pytest.mark.parametrize("task", ["add", "shop.tasks.send_report", "a..b", "celery.x"])
def test_a_routing_key_has_two_words_whatever_the_task(task: str) -> None:
    key = routing_key("reports", task)
    assert key == f"reports.{task.replace('.', ':')}"
    assert len(key.split(".")) == 2


def test_a_routing_key_takes_a_lane_or_its_name() -> None:
    assert routing_key(Lane(name="mail"), "a.b") == routing_key("mail", "a.b")


def test_a_routing_key_fits_amqp_in_bytes_not_letters() -> None:
    assert len(routing_key("a", "x" * 253)) == 255
    with pytest.raises(InvalidLane, match="at most 255 bytes, not 256"):
        routing_key("a", "x" * 254)
    with pytest.raises(InvalidLane, match="at most 255 bytes, not 256"):
        routing_key("a", "ä" * 127)


@pytest.mark.parametrize(
    ("lane", "task"), [("Mail", "a"), ("mail", ""), ("mail", None)]
)
def test_a_routing_key_needs_a_lane_and_a_task(lane: str, task: str) -> None:
    with pytest.raises(InvalidLane):
        routing_key(lane, task)


@pytest.mark.parametrize(
    ("key", "lane"),
    [
        ("reports.shop:daily", "reports"),
        ("reports.*", "reports"),
        ("reports", "reports"),
        (".".join(f"{5:028b}") + ".reports.*", "reports"),
        ("0.shop:daily", "0"),
        ("", None),
        ("*.x", None),
        ("Reports.x", None),
    ],
)
def test_the_lane_is_read_back_from_a_key(key: str, lane: str | None) -> None:
    assert lane_of(key) == lane
