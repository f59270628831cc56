"""Queues of the embedded broker: declaring, limits, expiry, ownership."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from amqp import Message
from amqp.exceptions import (
    AccessRefused,
    ConsumerCancelled,
    MessageNacked,
    NotFound,
    PreconditionFailed,
    ResourceLocked,
)

QUORUM = {"x-queue-type": "quorum"}


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ({"x-max-length": 5}, {"x-max-length": 6}, "received '6' but current is '5'"),
        (
            {"x-max-length": 5},
            {},
            "received none but current is the value '5' of type 'signedint'",
        ),
        (
            {},
            {"x-message-ttl": 7},
            "received the value '7' of type 'signedint' but current is none",
        ),
        ({}, QUORUM, "received 'quorum' but current is 'classic'"),
        (
            {**QUORUM, "x-delivery-limit": 2},
            {"x-delivery-limit": 2},
            "received 'classic' but current is 'quorum'",
        ),
    ],
)
def test_declaring_with_other_arguments_is_refused(
    declare: Any, vhost: str, first: Any, second: Any, words: str
) -> None:
    declare("q", first)
    text = f"inequivalent arg 'x-.*' for queue 'q' in vhost '{vhost}': {words}"
    with pytest.raises(PreconditionFailed, match=text):
        declare("q", second)


def test_declaring_the_same_again_is_fine(declare: Any, put: Any, channel: Any) -> None:
    declare("q", {"x-max-length": 5, "x-queue-type": "classic", "mine": 1})
    put("q")
    declare("q", {"x-max-length": 5, "mine": 2})
    assert channel.queue_declare("q", passive=True).message_count == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"x-queue-type": "stream"}, "unsupported queue type 'stream'"),
        ({"x-message-ttl": "a"}, "expected integer, got longstr"),
        ({"x-message-ttl": -1}, "{value_negative,-1}"),
        ({"x-expires": 0}, "{value_zero,0}"),
        ({"x-overflow": "foo"}, "invalid_overflow"),
        ({"x-dead-letter-routing-key": "a"}, "routing_key_but_no_dlx_defined"),
        ({"x-single-active-consumer": 1}, "{unacceptable_type,signedint}"),
        ({"x-delivery-limit": 1}, "of queue type rabbit_classic_queue"),
        ({**QUORUM, "x-max-priority": 1}, "of queue type rabbit_quorum_queue"),
    ],
)
def test_invalid_arguments_are_refused(
    declare: Any, arguments: dict[str, Any], words: str
) -> None:
    with pytest.raises(PreconditionFailed) as refused:
        declare("q", arguments)
    assert words in str(refused.value)


@pytest.mark.parametrize("option", ["exclusive", "auto_delete", "durable"])
def test_a_quorum_queue_is_durable_and_shared(channel: Any, option: str) -> None:
    options = {"durable": True, "auto_delete": False}
    options[option] = option != "durable"
    with pytest.raises(PreconditionFailed, match="invalid property"):
        channel.queue_declare("q", arguments=QUORUM, **options)


def test_a_missing_queue_is_not_found(connect: Any) -> None:
    connection = connect()
    attempts: list[Callable[[Any], Any]] = [
        lambda ch: ch.queue_declare("no", passive=True),
        lambda ch: ch.queue_bind("no", "amq.topic", "a"),
        lambda ch: ch.queue_purge("no"),
        lambda ch: ch.basic_consume("no"),
        lambda ch: ch.basic_get("no"),
    ]
    for attempt in attempts:
        with pytest.raises(NotFound, match="no queue 'no' in vhost"):
            attempt(connection.channel())
    assert connection.channel().queue_delete("no") == 0


def test_an_exclusive_queue_is_its_connections_own(connect: Any) -> None:
    owner, other = connect(), connect()
    name = owner.channel().queue_declare(exclusive=True).queue
    attempts: list[Callable[[Any], Any]] = [
        lambda ch: ch.queue_declare(name, passive=True),
        lambda ch: ch.queue_declare(name, exclusive=True),
        lambda ch: ch.basic_consume(name),
        lambda ch: ch.queue_delete(name),
    ]
    for attempt in attempts:
        with pytest.raises(ResourceLocked, match="locked queue"):
            attempt(other.channel())
    owner.close()
    with pytest.raises(NotFound):
        other.channel().queue_declare(name, passive=True)


def test_an_auto_delete_queue_goes_with_its_last_consumer(channel: Any) -> None:
    channel.queue_declare("q", auto_delete=True)
    first, second = (channel.basic_consume("q") for _ in "12")
    channel.basic_cancel(first)
    assert channel.queue_declare("q", passive=True).consumer_count == 1
    channel.basic_cancel(second)
    with pytest.raises(NotFound):
        channel.queue_declare("q", passive=True)


def test_names_are_given_and_reserved(channel: Any) -> None:
    assert channel.queue_declare().queue.startswith("amq.gen-")
    with pytest.raises(AccessRefused, match="reserved prefix"):
        channel.queue_declare("amq.mine")


def test_the_last_declared_queue_needs_no_name(
    channel: Any, put: Any, bodies: Any
) -> None:
    name = channel.queue_declare(auto_delete=False).queue
    channel.queue_bind("", "amq.direct")
    put(name, exchange="amq.direct")
    assert bodies("") == ["x"]


def test_purge_and_delete_count_messages(channel: Any, declare: Any, put: Any) -> None:
    declare("q")
    put("q")
    put("q")
    assert channel.queue_purge("q") == 2
    put("q")
    assert channel.queue_delete("q") == 1


@pytest.mark.parametrize("condition", ["if_unused", "if_empty"])
def test_delete_keeps_its_condition(
    channel: Any, declare: Any, put: Any, condition: str
) -> None:
    declare("q")
    channel.basic_qos(0, 1, False)
    put("q")
    put("q")
    channel.basic_consume("q", callback=lambda _message: None)
    with pytest.raises(PreconditionFailed, match=r"in use|not empty"):
        channel.queue_delete("q", **{condition: True})


def test_consumers_hear_that_their_queue_is_gone(
    connect: Any, channel: Any, declare: Any
) -> None:
    declare("q")
    consumer = connect()
    tag = consumer.channel().basic_consume("q", callback=lambda _message: None)
    channel.queue_delete("q")
    with pytest.raises(ConsumerCancelled, match=tag):
        consumer.drain_events(timeout=10)


def test_a_full_queue_drops_its_head(declare: Any, put: Any, bodies: Any) -> None:
    declare("few", {"x-max-length": 2})
    declare("small", {"x-max-length-bytes": 5})
    for body in ("aa", "bb", "cc"):
        put("few", body)
        put("small", body)
    assert bodies("few") == ["bb", "cc"]
    assert bodies("small") == ["bb", "cc"]


@pytest.mark.parametrize(("kind", "taken"), [("classic", 2), ("quorum", 3)])
def test_a_full_queue_rejects_publishes(
    connect: Any, channel: Any, declare: Any, kind: str, taken: int
) -> None:
    declare(
        "q",
        {"x-queue-type": kind, "x-max-length": 2, "x-overflow": "reject-publish"},
    )
    confirming = connect(confirm_publish=True).channel()
    for _ in range(taken):
        confirming.basic_publish(Message("x"), routing_key="q")
    with pytest.raises(MessageNacked):
        confirming.basic_publish(Message("x"), routing_key="q")
    assert channel.queue_declare("q", passive=True).message_count == taken


def test_an_unused_queue_expires(
    channel: Any, connect: Any, declare: Any, put: Any, inbox: Any
) -> None:
    declare("bell")
    bell = inbox("bell", no_ack=True)
    rung_later = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "bell"}
    declare("clock", {**rung_later, "x-message-ttl": 100})
    declare("q", {"x-expires": 30})
    consumer = connect().channel()
    tag = consumer.basic_consume("q")
    put("clock")
    bell.next()
    assert channel.queue_declare("q", passive=True).consumer_count == 1
    consumer.basic_cancel(tag)
    put("clock")
    bell.next()
    with pytest.raises(NotFound):
        channel.queue_declare("q", passive=True)
