"""Exchanges of the embedded broker, through a real AMQP client."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from amqp.exceptions import AccessRefused, NotFound, PreconditionFailed

Bodies = Callable[[str], list[str]]


@pytest.fixture
def exchange(channel: Any) -> Callable[..., str]:
    def declare(name: str, kind: str, **options: Any) -> str:
        channel.exchange_declare(
            name, kind, **{"durable": True, "auto_delete": False, **options}
        )
        return name

    return declare


def test_direct_topic_and_fanout_route(
    channel: Any, exchange: Any, declare: Any, put: Any, bodies: Bodies
) -> None:
    for kind, key in (("direct", "a.b"), ("topic", "a.*"), ("fanout", "")):
        exchange(f"x.{kind}", kind)
        declare(f"q.{kind}")
        channel.queue_bind(f"q.{kind}", f"x.{kind}", key)
        put("a.b", f"to {kind}", exchange=f"x.{kind}")
        put("a.c", "other", exchange=f"x.{kind}")
    assert bodies("q.direct") == ["to direct"]
    assert bodies("q.topic") == ["to topic", "other"]
    assert bodies("q.fanout") == ["to fanout", "other"]


def test_two_bindings_deliver_once(
    channel: Any, declare: Any, put: Any, bodies: Bodies
) -> None:
    declare("q")
    channel.queue_bind("q", "amq.topic", "a.*")
    channel.queue_bind("q", "amq.topic", "#")
    put("a.b", exchange="amq.topic")
    assert bodies("q") == ["x"]


def test_unbind_ends_a_route_that_was_already_used(
    channel: Any, declare: Any, put: Any, bodies: Bodies
) -> None:
    declare("q")
    channel.queue_bind("q", "amq.topic", "a")
    put("a", "before", exchange="amq.topic")
    channel.queue_unbind("q", "amq.topic", "a")
    put("a", "after", exchange="amq.topic")
    assert bodies("q") == ["before"]


def test_exchanges_bind_to_exchanges_even_in_a_circle(
    channel: Any, exchange: Any, declare: Any, put: Any, bodies: Bodies
) -> None:
    exchange("one", "topic")
    exchange("two", "fanout")
    channel.exchange_bind("two", "one", "a.#")
    channel.exchange_bind("one", "two", "")
    declare("q")
    channel.queue_bind("q", "two")
    put("a.b", "kept", exchange="one")
    channel.exchange_unbind("two", "one", "a.#")
    put("a.b", "lost", exchange="one")
    assert bodies("q") == ["kept"]


def test_alternate_exchange_takes_what_nothing_matches(
    channel: Any, exchange: Any, declare: Any, put: Any, bodies: Bodies
) -> None:
    exchange("rest", "fanout")
    exchange("main", "topic", arguments={"alternate-exchange": "rest"})
    declare("q.rest")
    declare("q.main")
    channel.queue_bind("q.rest", "rest")
    channel.queue_bind("q.main", "main", "known.*")
    put("known.a", "known", exchange="main")
    put("unknown.a", "unknown", exchange="main")
    assert bodies("q.main") == ["known"]
    assert bodies("q.rest") == ["unknown"]


def test_auto_delete_exchange_goes_with_its_last_binding(
    channel: Any, exchange: Any, declare: Any
) -> None:
    exchange("brief", "topic", auto_delete=True)
    declare("q")
    channel.queue_bind("q", "brief", "a")
    channel.queue_bind("q", "brief", "b")
    channel.queue_unbind("q", "brief", "a")
    exchange("brief", "topic", passive=True)
    channel.queue_delete("q")
    with pytest.raises(NotFound, match="no exchange 'brief'"):
        exchange("brief", "topic", passive=True)


def test_deleting_an_exchange_removes_bindings_to_it(
    channel: Any, exchange: Any, declare: Any, put: Any, bodies: Bodies
) -> None:
    exchange("one", "fanout")
    exchange("two", "fanout")
    channel.exchange_bind("two", "one")
    declare("q")
    channel.queue_bind("q", "two")
    channel.exchange_delete("two")
    exchange("two", "fanout")
    channel.queue_bind("q", "two")
    put("a", exchange="one")
    assert bodies("q") == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"type": "direct"}, "'type' .* received 'direct' but current is 'topic'"),
        ({"durable": False}, "'durable' .* received 'false' but current is 'true'"),
        (
            {"arguments": {"alternate-exchange": "b"}},
            "'alternate-exchange' .* received the value 'b' of type 'longstr' but "
            "current is none",
        ),
    ],
)
def test_declaring_differently_is_refused(
    exchange: Any, options: dict[str, Any], words: str
) -> None:
    exchange("x", "topic")
    with pytest.raises(PreconditionFailed, match=f"inequivalent arg {words}"):
        exchange("x", options.pop("type", "topic"), **options)


def test_reserved_and_default_exchanges_are_protected(connect: Any) -> None:
    connection = connect()
    refused: list[Callable[[Any], Any]] = [
        lambda ch: ch.exchange_declare("amq.mine", "topic"),
        lambda ch: ch.exchange_delete("amq.topic"),
        lambda ch: ch.exchange_declare("", "direct"),
        lambda ch: ch.queue_bind(ch.queue_declare().queue, "", "a"),
    ]
    for attempt in refused:
        with pytest.raises(AccessRefused):
            attempt(connection.channel())


def test_an_exchange_in_use_is_not_deleted_if_unused(
    channel: Any, exchange: Any, declare: Any
) -> None:
    exchange("x", "topic")
    declare("q")
    channel.queue_bind("q", "x", "a")
    with pytest.raises(PreconditionFailed, match=r"exchange 'x' in vhost .* in use"):
        channel.exchange_delete("x", if_unused=True)


def test_unknown_types_are_refused(exchange: Any) -> None:
    with pytest.raises(PreconditionFailed, match="invalid exchange type 'x-odd'"):
        exchange("x", "x-odd")
