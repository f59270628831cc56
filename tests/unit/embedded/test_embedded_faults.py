"""Scripted faults of the embedded broker."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from amqp import Message
from amqp.exceptions import MessageNacked

from metronome_broker.embedded import EmbeddedBroker, Fault, InvalidFault

Inject = Callable[..., dict[str, Any]]


@pytest.fixture
def inject(broker: EmbeddedBroker) -> Iterator[Inject]:
    yield lambda **fields: broker.inject(Fault(**fields))
    broker.inject(Fault(clear=True))


@pytest.fixture
def confirming(connect: Any, declare: Any) -> Any:
    declare("q")
    return connect(confirm_publish=True).channel()


def publish(channel: Any, body: str = "x", **options: Any) -> None:
    options = {"routing_key": "q", "confirm_timeout": 10, **options}
    channel.basic_publish(Message(body), **options)


def test_the_next_publishes_are_nacked(
    inject: Inject, confirming: Any, bodies: Any
) -> None:
    assert inject(nack_publishes=2)["nack_publishes"] == 2
    for _ in range(2):
        with pytest.raises(MessageNacked):
            publish(confirming, "refused")
    publish(confirming, "taken")
    assert bodies("q") == ["taken"]


def test_only_publishes_to_the_named_exchange_count(
    inject: Inject, confirming: Any, bodies: Any
) -> None:
    inject(nack_publishes=1, exchange="amq.topic")
    publish(confirming, "to the queue")
    with pytest.raises(MessageNacked):
        publish(confirming, exchange="amq.topic")
    assert bodies("q") == ["to the queue"]


def test_the_next_publishes_are_returned(
    inject: Inject, confirming: Any, bodies: Any
) -> None:
    returned: list[Any] = []
    confirming.events["basic_return"].add(lambda *details: returned.append(details))
    inject(return_publishes=1)
    publish(confirming, "returned", mandatory=True)
    publish(confirming, "taken", mandatory=True)
    assert [message.body for *_, message in returned] == ["returned"]
    assert bodies("q") == ["taken"]


def test_the_next_publishes_are_confirmed_and_lost(
    inject: Inject, confirming: Any, bodies: Any
) -> None:
    inject(lose_publishes=1)
    publish(confirming, "lost")
    publish(confirming, "kept")
    assert bodies("q") == ["kept"]


def test_confirms_are_swallowed(inject: Inject, confirming: Any, bodies: Any) -> None:
    inject(swallow_confirms=True)
    with pytest.raises(TimeoutError):
        publish(confirming, "stored", confirm_timeout=0.05)
    assert bodies("q") == ["stored"]


def test_confirms_are_delayed(inject: Inject, confirming: Any) -> None:
    inject(confirm_delay=0.1)
    started = time.monotonic()
    publish(confirming)
    assert time.monotonic() - started >= 0.1


def test_a_frozen_broker_accepts_and_answers_nothing(
    inject: Inject, connect: Any, channel: Any
) -> None:
    inject(freeze=True)
    with pytest.raises(TimeoutError):
        connect(connect_timeout=0.05)
    channel.basic_publish(Message("x"), "amq.topic", "nobody")
    with pytest.raises(TimeoutError):
        channel.connection.drain_events(timeout=0.05)
    inject(freeze=False)
    assert channel.queue_declare().queue
    assert connect().channel().queue_declare().queue


def test_connections_are_dropped(inject: Inject, connect: Any, channel: Any) -> None:
    inject(drop_connections=True)
    with pytest.raises(OSError):
        channel.queue_declare()
    assert connect().channel().queue_declare().queue


def test_an_alarm_blocks_publishers_until_it_is_over(
    inject: Inject, connect: Any, channel: Any, declare: Any
) -> None:
    declare("q")
    heard: list[str] = []
    publisher = connect(
        on_blocked=lambda _reason: heard.append("blocked"),
        on_unblocked=lambda: heard.append("unblocked"),
    )
    sending = publisher.channel()
    inject(blocked="low on memory")
    publisher.drain_events(timeout=10)
    assert heard == ["blocked"]
    sending.basic_publish(Message("late"), routing_key="q")
    late = connect(on_blocked=lambda _reason: heard.append("late"))
    late.drain_events(timeout=10)
    assert heard == ["blocked", "late"]
    # Consumers and everything else go on.
    assert channel.queue_declare("q", passive=True).message_count == 0
    inject(blocked="")
    publisher.drain_events(timeout=10)
    assert heard[-1] == "unblocked"
    # On the same connection: after what was held back.
    assert sending.queue_declare("q", passive=True).message_count == 1


def test_a_blocked_publisher_that_dies_is_forgotten(
    inject: Inject, connect: Any, channel: Any, declare: Any, bodies: Any
) -> None:
    declare("q")
    publisher = connect()
    held = publisher.channel()
    held.queue_declare("mine", exclusive=True)
    inject(blocked="low on disk")
    held.basic_publish(Message("x"), routing_key="q")
    publisher.transport.sock.close()
    # By the time a later client is served, the end of the earlier one was seen.
    connect()
    inject(blocked="")
    assert bodies("q") == []
    assert declare("mine") == "mine"


def test_clear_ends_everything(inject: Inject) -> None:
    on = inject(nack_publishes=3, confirm_delay=2.0, swallow_confirms=True)
    assert (on["nack_publishes"], on["confirm_delay"]) == (3, 2.0)
    assert not any(inject(clear=True).values())


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ([], "fault must be an object, not list"),
        ({"freze": True}, "fault field 'freze' must be one of clear, freeze, "),
        ({"freeze": 1}, "fault field 'freeze' must be bool, not 1"),
        ({"nack_publishes": True}, "fault field 'nack_publishes' must be int"),
        ({"nack_publishes": -1}, "fault field 'nack_publishes' must be 0 or more"),
        ({"confirm_delay": "1"}, "fault field 'confirm_delay' must be float"),
        ({"exchange": None}, "fault field 'exchange' must be str, not None"),
    ],
)
def test_wrong_scripts_are_named(body: object, words: str) -> None:
    with pytest.raises(InvalidFault) as refused:
        Fault.from_json(json.loads(json.dumps(body)))
    assert words in str(refused.value)
