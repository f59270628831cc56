"""Consuming from the embedded broker: prefetch, settling, redelivery."""

from __future__ import annotations

from typing import Any

import pytest
from amqp import Message, spec
from amqp.exceptions import (
    AccessRefused,
    AMQPNotImplementedError,
    NotAllowed,
    PreconditionFailed,
)


@pytest.fixture
def filled(declare: Any, put: Any) -> str:
    declare("q")
    for body in "abc":
        put("q", body)
    return "q"


def test_messages_come_in_order_and_whole(declare: Any, put: Any, inbox: Any) -> None:
    declare("q")
    box = inbox("q", no_ack=True)
    sent = ["x" * size for size in (0, 1, 131_063, 131_064, 131_065, 500_000)]
    for body in sent:
        put("q", body)
    assert [box.next().body or "" for _ in sent] == sent


def test_properties_arrive_as_they_were_sent(
    declare: Any, put: Any, channel: Any
) -> None:
    declare("q")
    properties = {
        "content_type": "application/json",
        "content_encoding": "utf-8",
        "application_headers": {"n": 1, "deep": {"list": [1, "two", None]}},
        "delivery_mode": 2,
        "priority": 0,
        "correlation_id": "c",
        "reply_to": "r",
        "message_id": "m",
        "timestamp": 1_800_000_000,
        "type": "t",
        "app_id": "a",
    }
    put("q", "body", **properties)
    assert channel.basic_get("q").properties == properties


def test_prefetch_holds_back(channel: Any, filled: str, inbox: Any) -> None:
    channel.basic_qos(0, 1, False)
    box = inbox(filled)
    first = box.next()
    assert box.nothing()
    channel.basic_ack(first.delivery_tag)
    assert box.next().body == "b"


def test_channel_wide_prefetch_counts_all_consumers(
    channel: Any, filled: str, inbox: Any
) -> None:
    channel.basic_qos(0, 2, True)
    one, two = inbox(filled), inbox(filled)
    first = one.next()
    assert one.next().body == "b"
    assert two.nothing()
    channel.basic_ack(first.delivery_tag)
    assert one.next().body == "c"


def test_consumers_take_turns(declare: Any, put: Any, inbox: Any) -> None:
    declare("q")
    boxes = [inbox("q", no_ack=True) for _ in "12"]
    for body in "abcd":
        put("q", body)
    taken = [[box.next().body, box.next().body] for box in boxes]
    assert taken == [["a", "c"], ["b", "d"]]


def test_a_single_active_consumer_is_followed_by_the_next(
    channel: Any, declare: Any, put: Any, inbox: Any
) -> None:
    declare("q", {"x-single-active-consumer": True})
    first, second = inbox("q", no_ack=True), inbox("q", no_ack=True)
    put("q", "a")
    put("q", "b")
    assert [first.next().body, first.next().body] == ["a", "b"]
    assert second.nothing()
    channel.basic_cancel(first.tag)
    put("q", "c")
    assert second.next().body == "c"


def test_multiple_ack_settles_all_before(
    channel: Any, filled: str, inbox: Any, bodies: Any
) -> None:
    box = inbox(filled)
    last = [box.next() for _ in "abc"][-2]
    channel.basic_ack(last.delivery_tag, multiple=True)
    channel.basic_recover(requeue=True)
    again = box.next()
    assert (again.body, again.delivery_info["redelivered"]) == ("c", True)


@pytest.mark.parametrize("kind", ["classic", "quorum"])
def test_returned_messages_take_their_old_turn(
    channel: Any, declare: Any, put: Any, bodies: Any, kind: str
) -> None:
    declare("q", {"x-queue-type": kind})
    for body in "abcd":
        put("q", body)
    taken = [channel.basic_get("q") for _ in "abc"]
    for message in (taken[1], taken[0], taken[2]):
        channel.basic_reject(message.delivery_tag, requeue=True)
    assert bodies("q") == ["a", "b", "c", "d"]


def test_nack_settles_many(channel: Any, filled: str, bodies: Any) -> None:
    tags = [channel.basic_get(filled).delivery_tag for _ in "abc"]
    channel.send_method(spec.Basic.Nack, "Lbb", (tags[1], True, True))
    assert bodies(filled) == ["a", "b"]


def test_a_dead_connection_gives_back_what_it_held(
    connect: Any, channel: Any, filled: str, inbox: Any
) -> None:
    victim = connect()
    taken: list[Any] = []
    victim.channel().basic_consume(filled, callback=taken.append)
    while len(taken) < 3:
        victim.drain_events(timeout=10)
    box = inbox(filled)
    # As after SIGKILL: the kernel closes the socket, AMQP says nothing.
    victim.transport.sock.close()
    again = [box.next() for _ in "abc"]
    assert [message.body for message in again] == ["a", "b", "c"]
    assert all(message.delivery_info["redelivered"] for message in again)


def test_a_closed_channel_gives_back_too(connect: Any, filled: str) -> None:
    connection = connect()
    first = connection.channel()
    assert first.basic_get(filled).body == "a"
    first.close()
    again = connection.channel().basic_get(filled)
    assert (again.body, again.delivery_info["redelivered"]) == ("a", True)


def test_what_comes_back_after_the_queue_went_is_dropped(
    connect: Any, channel: Any, filled: str, declare: Any, bodies: Any
) -> None:
    holder = connect().channel()
    message = holder.basic_get(filled)
    channel.queue_delete(filled)
    declare(filled)
    holder.basic_reject(message.delivery_tag, requeue=True)
    holder.queue_declare(filled, passive=True)
    assert bodies(filled) == []


@pytest.mark.parametrize("tag", [0, 7])
def test_an_unknown_delivery_tag_closes_the_channel(
    connect: Any, channel: Any, tag: int
) -> None:
    wrong = connect().channel()
    wrong.basic_ack(tag)
    with pytest.raises(PreconditionFailed, match=f"unknown delivery tag {tag}"):
        wrong.queue_declare()
    assert channel.queue_declare().queue


def test_consumer_tags_and_exclusive_consumers_are_kept_apart(connect: Any) -> None:
    connection = connect()
    channel = connection.channel()
    channel.queue_declare("q", auto_delete=False)
    channel.basic_consume("q", consumer_tag="t", exclusive=True)
    with pytest.raises(AccessRefused, match="in exclusive use"):
        connection.channel().basic_consume("q")
    with pytest.raises(NotAllowed, match="attempt to reuse consumer tag 't'"):
        channel.basic_consume("q", consumer_tag="t")


def test_what_is_not_there_says_so(connect: Any) -> None:
    for attempt in (
        lambda ch: ch.tx_select(),
        lambda ch: ch.basic_qos(1, 0, False),
        lambda ch: ch.flow(active=False),
    ):
        with pytest.raises(AMQPNotImplementedError):
            attempt(connect().channel())


def test_get_counts_what_is_left(channel: Any, filled: str) -> None:
    assert channel.basic_get(filled).delivery_info["message_count"] == 2
    channel.queue_purge(filled)
    assert channel.basic_get(filled) is None


def test_a_client_that_does_not_read_is_not_buffered_for(
    broker: Any, connect: Any, declare: Any, channel: Any
) -> None:
    declare("q")
    slow = connect()
    got: list[Any] = []
    slow.channel().basic_consume("q", callback=got.append, no_ack=True)
    body = "x" * 1_000_000
    for _ in range(40):
        channel.basic_publish(Message(body), routing_key="q")
    # Kernel buffers and ours take some; the rest waits in the queue.
    assert channel.queue_declare("q", passive=True).message_count > 10
    while len(got) < 40:
        slow.drain_events(timeout=10)
    assert channel.queue_declare("q", passive=True).message_count == 0
