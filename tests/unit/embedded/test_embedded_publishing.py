"""Publishing to the embedded broker: confirms, returns, errors."""

from __future__ import annotations

from typing import Any

import pytest
from amqp import Message, spec
from amqp.exceptions import AMQPNotImplementedError, NotFound, PreconditionFailed
from kombu import Connection, Exchange, Queue


def test_confirms_come_in_order(connect: Any, declare: Any) -> None:
    declare("q")
    channel = connect().channel()
    channel.confirm_select()
    acked: list[int] = []
    channel.events["basic_ack"].add(lambda tag, _multiple: acked.append(tag))
    for _ in range(50):
        channel.basic_publish(Message("x"), routing_key="q")
    while len(acked) < 50:
        channel.connection.drain_events(timeout=10)
    assert acked == list(range(1, 51))
    assert channel.queue_declare("q", passive=True).message_count == 50


def test_an_unroutable_mandatory_message_is_returned_before_its_confirm(
    connect: Any,
) -> None:
    channel = connect().channel()
    channel.confirm_select()
    heard: list[Any] = []
    channel.events["basic_return"].add(
        lambda error, exchange, key, message: heard.append(
            (error.reply_code, exchange, key, message.body)
        )
    )
    channel.events["basic_ack"].add(lambda tag, _multiple: heard.append(tag))
    channel.basic_publish(Message("x"), "amq.topic", "nobody", mandatory=True)
    while len(heard) < 2:
        channel.connection.drain_events(timeout=10)
    assert heard == [(312, "amq.topic", "nobody", "x"), 1]


def test_an_unroutable_message_is_dropped_and_confirmed(connect: Any) -> None:
    channel = connect(confirm_publish=True).channel()
    channel.basic_publish(Message("x"), "amq.topic", "nobody", confirm_timeout=10)


def test_one_full_queue_nacks_and_the_others_still_get_it(
    connect: Any, channel: Any, declare: Any, bodies: Any
) -> None:
    declare("full", {"x-max-length": 0, "x-overflow": "reject-publish"})
    declare("empty")
    for queue in ("full", "empty"):
        channel.queue_bind(queue, "amq.fanout")
    publisher = connect().channel()
    publisher.confirm_select()
    nacked: list[int] = []
    publisher.events["basic_nack"].add(lambda tag, _multiple: nacked.append(tag))
    publisher.basic_publish(Message("x"), "amq.fanout")
    while not nacked:
        publisher.connection.drain_events(timeout=10)
    assert bodies("empty") == ["x"]


@pytest.mark.parametrize(
    ("message", "arguments", "error", "words"),
    [
        (Message("x"), {"exchange": "no"}, NotFound, "no exchange 'no'"),
        (
            Message("x", expiration="soon"),
            {"routing_key": "q"},
            PreconditionFailed,
            "invalid expiration 'soon'",
        ),
        (
            Message("x"),
            {"routing_key": "q", "immediate": True},
            AMQPNotImplementedError,
            "immediate=true",
        ),
    ],
)
def test_wrong_publishes_are_named(
    channel: Any, message: Any, arguments: Any, error: type[Exception], words: str
) -> None:
    channel.basic_publish(message, **arguments)
    with pytest.raises(error, match=words):
        channel.queue_declare("q", passive=True)


def test_frames_for_a_closed_channel_are_ignored(connect: Any) -> None:
    connection = connect()
    channel = connection.channel()

    def publish_and_ask() -> None:
        # the refusal of the first may arrive before the last is sent
        for _ in range(3):
            channel.basic_publish(Message("x" * 300_000), exchange="no")
        channel.queue_declare("q", passive=True)

    with pytest.raises(NotFound):
        publish_and_ask()
    assert connection.channel().queue_declare().queue


def test_a_body_above_the_limit_closes_only_the_channel(connect: Any) -> None:
    connection = connect()
    channel = connection.channel()
    header = (16 * 1024 * 1024 + 1).to_bytes(8, "big")
    connection.frame_writer(
        1,
        channel.channel_id,
        spec.Basic.Publish,
        b"\x00\x00\x00\x01q\x00",
        None,
    )
    frame = b"\x00\x3c\x00\x00" + header + b"\x00\x00"
    connection.transport.write(
        b"\x02"
        + channel.channel_id.to_bytes(2, "big")
        + len(frame).to_bytes(4, "big")
        + frame
        + b"\xce"
    )
    with pytest.raises(PreconditionFailed, match="larger than configured max size"):
        channel.wait(spec.Channel.CloseOk)
    assert connection.channel().queue_declare().queue


def test_kombu_publishes_and_consumes(broker: Any, vhost: str) -> None:
    exchange = Exchange("tasks", "topic")
    queue = Queue(
        "tasks.lane",
        exchange,
        routing_key="lane.*",
        queue_arguments={"x-queue-type": "quorum"},
    )
    options = {"confirm_publish": True}
    with Connection(broker.url_of(vhost), transport_options=options) as connection:
        producer = connection.Producer()
        producer.publish(
            {"n": 1},
            exchange=exchange,
            routing_key="lane.task",
            declare=[queue],
            mandatory=True,
            retry=True,
        )
        got: list[Any] = []
        consumer = connection.Consumer([queue], callbacks=[lambda *a: got.append(a)])
        with consumer:
            connection.drain_events(timeout=10)
        body, message = got[0]
        message.ack()
        assert body == {"n": 1}
        assert message.delivery_info["routing_key"] == "lane.task"
