"""A topology as a value: what it would declare, and what Celery sees of it."""

from __future__ import annotations

import pytest
from celery.app.amqp import Queues

from metronome_broker import InvalidLane, Lane, Topology, TopologyDrift, lanes_named
from metronome_broker.drift import read_difference

TOPOLOGY = Topology(
    lanes=(
        Lane(name="reports", delivery_limit=3, max_length=10),
        Lane(name="mail", message_ttl_seconds=60),
    )
)


def test_every_queue_is_a_quorum_queue_bound_by_two_words() -> None:
    queues = {queue.name: queue for queue in TOPOLOGY.queues()}
    assert set(queues) == {
        "metronome.unrouted",
        "metronome.dead",
        "metronome.dead.news",
        "metronome.reports",
        "metronome.mail",
    }
    assert {q.arguments["x-queue-type"] for q in queues.values()} == {"quorum"}
    assert queues["metronome.reports"].bindings == (
        ("metronome", "reports.*"),
        ("metronome.runs", "reports.*"),
    )


def test_limits_become_arguments() -> None:
    queues = {queue.name: queue.arguments for queue in TOPOLOGY.queues()}
    assert queues["metronome.reports"]["x-delivery-limit"] == 3
    assert queues["metronome.reports"]["x-max-length"] == 10
    assert "x-message-ttl" not in queues["metronome.reports"]
    assert queues["metronome.mail"]["x-message-ttl"] == 60_000
    assert queues["metronome.mail"]["x-delivery-limit"] == 20
    assert "x-max-length" not in queues["metronome.mail"]


def test_a_lane_loses_nothing_on_the_way_to_dead() -> None:
    for queue in TOPOLOGY.queues()[3:]:
        assert queue.arguments["x-dead-letter-exchange"] == "metronome.dead"
        assert queue.arguments["x-dead-letter-strategy"] == "at-least-once"
        # At-least-once is silently at-most-once without it.
        assert queue.arguments["x-overflow"] == "reject-publish"


def test_news_of_the_dead_are_bounded_and_refuse_nothing() -> None:
    queues = {queue.name: queue for queue in TOPOLOGY.queues()}
    kept, news = queues["metronome.dead"], queues["metronome.dead.news"]
    assert kept.bindings == news.bindings == (("metronome.dead", "#"),)
    assert "x-max-length" not in kept.arguments
    # a full queue that refused would hold dead letters back in their lanes
    assert news.arguments["x-overflow"] == "drop-head"
    assert news.arguments["x-max-length"] == 10_000


def test_targets_are_declared_before_what_points_at_them() -> None:
    names = [exchange.name for exchange in TOPOLOGY.exchanges()]
    assert names.index("metronome.unrouted") < names.index("metronome")
    [entrance] = [e for e in TOPOLOGY.exchanges() if e.name == "metronome"]
    assert entrance.type == "topic"
    assert entrance.arguments == {"alternate-exchange": "metronome.unrouted"}


def test_the_run_exchange_has_no_alternate_one() -> None:
    [runs] = [e for e in TOPOLOGY.exchanges() if e.name == TOPOLOGY.run_exchange]
    assert runs.type == "topic"
    assert runs.arguments == {}


def test_celery_takes_lane_names_for_queues() -> None:
    queues = Queues(TOPOLOGY.kombu_queues(), create_missing=False)
    queues.select(["reports"])
    assert list(queues.consume_from) == ["metronome.reports"]
    assert queues["mail"].name == "metronome.mail"
    with pytest.raises(KeyError):
        queues.select(["nolane"])


def test_celery_would_declare_the_very_same_queue() -> None:
    declared = {queue.name: dict(queue.arguments) for queue in TOPOLOGY.queues()}
    for queue in TOPOLOGY.kombu_queues():
        assert queue.queue_arguments == declared[queue.name]
        assert queue.durable
        assert queue.exchange.name == "metronome"
        assert queue.exchange.type == "topic"
        assert queue.exchange.arguments == {"alternate-exchange": "metronome.unrouted"}


def test_lanes_are_found_by_name() -> None:
    assert TOPOLOGY.lane("mail").message_ttl_seconds == 60
    with pytest.raises(InvalidLane, match="one of mail, reports, not 'nolane'"):
        TOPOLOGY.lane("nolane")


def test_lanes_must_be_there_once_each() -> None:
    with pytest.raises(InvalidLane, match="at least one"):
        Topology(lanes=())
    with pytest.raises(InvalidLane, match=r"each lane once, not twice: \['a'\]"):
        Topology(lanes=lanes_named(["a", "b", "a"]))


@pytest.mark.parametrize(
    ("text", "argument", "expected", "found"),
    [
        (
            "PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue 'q' in "
            "vhost '/': received the value '4' of type 'signedint' but current is none",
            "x-max-length",
            "4",
            "none",
        ),
        (
            "PRECONDITION_FAILED - inequivalent arg 'x-delivery-limit' for queue 'q' "
            "in vhost 'cc': received '5' but current is '20'",
            "x-delivery-limit",
            "5",
            "20",
        ),
        (
            "PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'q' in vhost "
            "'/': received 'topic' but current is 'direct'",
            "type",
            "topic",
            "direct",
        ),
        (
            "inequivalent arg 'x-message-ttl' for queue 'q' in vhost '/': received "
            "the value '60000' of type 'signedint' but curr",
            "x-message-ttl",
            "60000",
            "",
        ),
        ("PRECONDITION_FAILED - something new", "", "", ""),
    ],
)
def test_the_brokers_words_are_read_as_far_as_they_go(
    text: str, argument: str, expected: str, found: str
) -> None:
    difference = read_difference("queue", "q", text)
    assert difference.argument == argument
    assert difference.expected == expected
    assert difference.found == found
    assert difference.text == text


def test_drift_names_each_difference() -> None:
    one = read_difference(
        "queue",
        "q",
        "inequivalent arg 'a' for queue 'q' in vhost "
        "'/': received '1' but current is '2'",
    )
    two = read_difference("exchange", "e", "PRECONDITION_FAILED - odd")
    text = str(TopologyDrift([one, two]))
    assert "queue q: a expected 1, found 2; exchange e: PRECONDITION_FAILED" in text
