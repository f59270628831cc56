"""One set of expectations, held against the embedded broker and a real RabbitMQ."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from amqp import Message
from amqp.exceptions import MessageNacked, NotFound
from broker_client import SECONDS, Client, bodies
from broker_refusals import REFUSALS
from kombu import Exchange, Queue
from kombu.transport.native_delayed_delivery import (
    bind_queue_to_native_delayed_delivery_exchange,
    calculate_routing_key,
    declare_native_delayed_delivery_exchanges_and_queues,
)

from metronome_broker.embedded import EmbeddedBroker

QUORUM = {"x-queue-type": "quorum"}
TO_DEAD = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"}


@pytest.fixture(scope="module")
def embedded() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as broker:
        yield broker


@pytest.fixture(params=["embedded", "rabbitmq"])
def url(request: pytest.FixtureRequest) -> str:
    """A vhost of its own, at either broker."""
    if request.param == "rabbitmq":
        found: str = request.getfixturevalue("vhost_url")
        return found
    broker: EmbeddedBroker = request.getfixturevalue("embedded")
    return broker.url_of(f"test-{uuid.uuid4().hex}")


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    opened = Client(url)
    yield opened
    opened.close()


@pytest.fixture
def other(url: str) -> Iterator[Client]:
    opened = Client(url)
    yield opened
    opened.close()


@pytest.fixture
def vhost(url: str) -> str:
    return url.rpartition("/")[2]


@pytest.mark.parametrize(
    ("pattern", "taken"),
    [
        ("a.*", ["a.b", "a."]),
        ("a.#", ["a", "a.b", "a.b.c", "a."]),
        ("#.b", ["a.b", "b"]),
        ("*.*", ["a.b", "a."]),
        ("#", ["a", "a.b", "a.b.c", "b", "", "a."]),
        ("", [""]),
        ("#.#.c", ["a.b.c"]),
        ("*", ["a", "b"]),
    ],
)
def test_topic_patterns(client: Client, pattern: str, taken: list[str]) -> None:
    client.queue("q")
    client.channel.queue_bind("q", "amq.topic", pattern)
    for key in ("a", "a.b", "a.b.c", "b", "", "a."):
        client.put(key, f"<{key}>", "amq.topic")
    client.put("q", "end")
    expected = [*(f"<{key}>" for key in taken), "end"]
    assert bodies(client.take("q", len(expected))) == expected


def test_exchange_bindings_alternates_and_unbinding(client: Client) -> None:
    client.exchange("rest", "fanout")
    client.exchange("inner", "direct")
    client.exchange("outer", "topic", arguments={"alternate-exchange": "rest"})
    client.channel.exchange_bind("inner", "outer", "task.#")
    client.queue("q")
    client.queue("unrouted")
    client.channel.queue_bind("q", "inner", "task.a")
    client.channel.queue_bind("unrouted", "rest")
    client.put("task.a", "routed", "outer")
    # Matched a binding, so the alternate does not get it, though no queue does.
    client.put("task.b", "nowhere", "outer")
    client.put("other", "alternate", "outer")
    client.channel.exchange_unbind("inner", "outer", "task.#")
    client.put("task.a", "unbound", "outer")
    assert bodies(client.take("q")) == ["routed"]
    assert bodies(client.take("unrouted", 2)) == ["alternate", "unbound"]


def test_auto_delete_exchanges_and_queues_go(client: Client) -> None:
    client.exchange("brief", "fanout", auto_delete=True)
    client.channel.queue_declare("q", exclusive=True, auto_delete=True)
    client.channel.queue_bind("q", "brief")
    tag = client.channel.basic_consume("q")
    client.channel.basic_cancel(tag)
    for kind, name in (("queue", "q"), ("exchange", "brief")):

        def passive(channel: Any, kind: str = kind, name: str = name) -> None:
            more = () if kind == "queue" else ("fanout",)
            getattr(channel, f"{kind}_declare")(name, *more, passive=True)

        assert client.refused(passive).startswith(f"no {kind} '{name}' in vhost")


def test_refusals_are_worded_the_same(client: Client, vhost: str) -> None:
    client.queue("q", {"x-max-length": 5})
    client.exchange("x", "topic")
    client.channel.queue_bind("q", "x", "a")
    client.put("q")
    said = [client.refused(attempt) for _, attempt in REFUSALS]
    assert said == [text.format(vhost=vhost) for text, _ in REFUSALS]


def test_exclusive_queues_belong_to_one_connection(
    client: Client, other: Client
) -> None:
    client.channel.queue_declare("mine", exclusive=True)
    said = other.refused(lambda ch: ch.basic_consume("mine"))
    assert said.startswith("cannot obtain exclusive access to locked queue 'mine'")
    said = other.refused(lambda ch: ch.queue_declare("mine", passive=True))
    assert said.startswith("cannot obtain exclusive access to locked queue 'mine'")


def test_unroutable_mandatory_messages_are_returned(client: Client) -> None:
    returned: list[Any] = []
    client.channel.events["basic_return"].add(
        lambda error, exchange, key, message: returned.append(
            (error.reply_code, exchange, key, message.body)
        )
    )
    client.channel.basic_publish(
        Message("x"), "amq.topic", "no", mandatory=True, confirm_timeout=SECONDS
    )
    # Before the confirm, hence before the publish returned.
    assert returned == [(312, "amq.topic", "no", "x")]


@pytest.mark.parametrize("kind", ["classic", "quorum"])
def test_full_queues_reject(client: Client, kind: str) -> None:
    client.queue(
        "q",
        {"x-queue-type": kind, "x-max-length": 2, "x-overflow": "reject-publish"},
    )

    def fill() -> None:
        # RabbitMQ's quorum queues notice a little late.
        for _ in range(100):
            client.put("q")

    with pytest.raises(MessageNacked):
        fill()
    taken = client.channel.queue_declare("q", passive=True).message_count
    assert taken >= 2 if kind == "quorum" else taken == 2


@pytest.mark.parametrize("kind", ["classic", "quorum"])
@pytest.mark.parametrize("reason", ["expired", "rejected", "maxlen"])
def test_dead_letters_say_why(client: Client, kind: str, reason: str) -> None:
    client.queue("dead")
    arguments = {"x-max-length": 1} if reason == "maxlen" else {}
    client.queue("q", {"x-queue-type": kind, **TO_DEAD, **arguments})
    more = {"expiration": "20"} if reason == "expired" else {}
    client.put("q", "given up", application_headers={"mine": 1}, **more)
    if reason == "rejected":
        (message,) = client.take("q")
        client.channel.basic_reject(message.delivery_tag, requeue=False)
    if reason == "maxlen":
        client.put("q", "stays")
    (dead,) = client.take("dead")
    (death,) = dead.headers.pop("x-death")
    assert dead.body == "given up"
    del death["time"]
    expected = {
        "count": 1,
        "reason": reason,
        "queue": "q",
        "exchange": "",
        "routing-keys": ["q"],
    }
    if reason == "expired":
        expected["original-expiration"] = "20"
    assert death == expected
    assert dead.headers == {
        "mine": 1,
        "x-first-death-exchange": "",
        "x-first-death-queue": "q",
        "x-first-death-reason": reason,
        "x-last-death-exchange": "",
        "x-last-death-queue": "q",
        "x-last-death-reason": reason,
    }
    assert "expiration" not in dead.properties
    assert dead.delivery_info["redelivered"] is False


def test_the_delivery_limit_counts_returns(client: Client) -> None:
    client.queue("dead")
    client.queue("q", {**QUORUM, **TO_DEAD, "x-delivery-limit": 2})
    client.put("q")
    seen = []
    for _ in range(3):
        (message,) = client.take("q")
        count = (message.headers or {}).get("x-delivery-count")
        seen.append((count, message.delivery_info["redelivered"]))
        client.channel.basic_reject(message.delivery_tag, requeue=True)
    assert seen == [(None, False), (1, True), (2, True)]
    (dead,) = client.take("dead")
    assert dead.headers["x-death"][0]["reason"] == "delivery_limit"


@pytest.mark.parametrize("kind", ["classic", "quorum"])
def test_what_a_dead_connection_held_comes_back_in_order(
    client: Client, other: Client, kind: str
) -> None:
    client.queue("q", {"x-queue-type": kind})
    for body in "abc":
        client.put("q", body)
    assert bodies(client.take("q", 3)) == ["a", "b", "c"]
    client.connection.transport.sock.close()
    again = other.take("q", 3)
    assert bodies(again) == ["a", "b", "c"]
    assert all(message.delivery_info["redelivered"] for message in again)


def test_repeated_deaths_are_counted(client: Client) -> None:
    client.queue("work", {**TO_DEAD, "x-dead-letter-routing-key": "wait"})
    client.queue(
        "wait", {**TO_DEAD, "x-dead-letter-routing-key": "work", "x-message-ttl": 20}
    )
    client.put("work")
    for _ in range(2):
        (message,) = client.take("work")
        client.channel.basic_reject(message.delivery_tag, requeue=False)
    (message,) = client.take("work")
    deaths = message.headers["x-death"]
    assert [(each["queue"], each["reason"], each["count"]) for each in deaths] == [
        ("wait", "expired", 2),
        ("work", "rejected", 2),
    ]


def test_a_single_active_consumer_is_followed(client: Client) -> None:
    client.queue("q", {"x-single-active-consumer": True})
    first: list[Any] = []
    second: list[Any] = []
    tag = client.channel.basic_consume("q", callback=first.append, no_ack=True)
    client.channel.basic_consume("q", callback=second.append, no_ack=True)
    for body in "ab":
        client.put("q", body)
    while len(first) < 2:
        client.connection.drain_events(timeout=SECONDS)
    client.channel.basic_cancel(tag)
    client.put("q", "c")
    while not second:
        client.connection.drain_events(timeout=SECONDS)
    assert (bodies(first), bodies(second)) == (["a", "b"], ["c"])


def test_deleting_a_queue_cancels_its_consumers(client: Client, other: Client) -> None:
    client.queue("q")
    cancelled: list[str] = []
    client.channel.basic_consume("q", on_cancel=cancelled.append, consumer_tag="t")
    assert other.channel.queue_delete("q") == 0
    while not cancelled:
        client.connection.drain_events(timeout=SECONDS)
    assert cancelled == ["t"]


def test_whoever_deletes_a_queue_is_answered_before_its_consumer_ends(
    client: Client,
) -> None:
    client.queue("q")
    cancelled: list[str] = []
    client.channel.basic_consume("q", on_cancel=cancelled.append, consumer_tag="t")
    client.channel.queue_delete("q")
    assert cancelled == []
    while not cancelled:
        client.connection.drain_events(timeout=SECONDS)


def test_native_delayed_delivery(client: Client) -> None:
    exchange = Exchange("tasks", "topic")
    queue = Queue("tasks.lane", exchange, routing_key="lane.*", queue_arguments=QUORUM)
    queue(client.channel).declare()
    declare_native_delayed_delivery_exchanges_and_queues(client.kombu, "quorum")
    bind_queue_to_native_delayed_delivery_exchange(client.kombu, queue)
    key = calculate_routing_key(1, "lane.task")
    client.put(key, "later", "celery_delayed_27")
    (message,) = client.take("tasks.lane")
    assert message.body == "later"
    assert message.delivery_info["routing_key"] == key
    death = message.headers["x-death"][0]
    assert (death["queue"], death["reason"]) == ("celery_delayed_0", "expired")


def test_a_vhost_starts_empty(client: Client) -> None:
    with pytest.raises(NotFound):
        client.channel.queue_declare("q", passive=True)
