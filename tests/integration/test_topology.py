"""The topology on a real RabbitMQ: declared, compared, and routing as promised."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from urllib.parse import quote, unquote, urlsplit

import amqp
import pytest
from kombu import Connection
from rabbit import NOT_HELD_SECONDS, Rabbit

from metronome_broker import (
    BrokerUnreachable,
    Lane,
    OutboundMessage,
    Publisher,
    Topology,
    TopologyDrift,
    lane_depths,
    lanes_named,
)

TOPOLOGY = Topology(lanes=lanes_named(["reports", "mail"]))


def vhost_of(url: str) -> str:
    return unquote(urlsplit(url).path[1:])


def until(condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.05)


def messages(url: str, name: str) -> int:
    return lane_depths(url, TOPOLOGY)[name].messages


def publish(url: str, exchange: str, key: str, **properties: object) -> bool:
    """Publishes one message like a foreign client; whether it came back."""
    with Connection(url) as connection:
        channel = connection.default_channel
        returned: list[object] = []
        channel.confirm_select()
        channel.events["basic_return"].add(lambda *args: returned.append(args))
        channel.basic_publish_confirm(
            amqp.Message("x", **properties),
            exchange=exchange,
            routing_key=key,
            mandatory=True,
            confirm_timeout=5,
        )
        return bool(returned)


def test_apply_declares_all_and_again_nothing(vhost_url: str) -> None:
    before = TOPOLOGY.check(vhost_url)
    assert not before.ok
    assert {"queue metronome.reports", "exchange metronome.runs"} <= set(before.missing)

    first = TOPOLOGY.apply(vhost_url)
    assert first.ok
    assert first.missing == before.missing

    again = TOPOLOGY.apply(vhost_url)
    assert again.ok
    assert again.missing == ()
    assert TOPOLOGY.check(vhost_url).ok


def test_apply_takes_a_kombu_connection_and_leaves_it_unopened(vhost_url: str) -> None:
    with Connection(vhost_url) as connection:
        assert TOPOLOGY.apply(connection).ok
        assert not connection.connected


def test_check_changes_nothing(vhost_url: str, rabbitmq: Rabbit) -> None:
    if rabbitmq.api_url is None:
        pytest.fail("set METRONOME_TEST_BROKER_API_URL to look at what is declared")
    TOPOLOGY.check(vhost_url)
    vhost = quote(vhost_of(vhost_url), safe="")
    assert rabbitmq.api("GET", f"queues/{vhost}") == []
    declared = [each["name"] for each in rabbitmq.api("GET", f"exchanges/{vhost}")]
    assert [name for name in declared if name and not name.startswith("amq.")] == []


def test_six_processes_may_apply_at_once(vhost_url: str) -> None:
    outcomes: list[bool] = []
    errors: list[Exception] = []

    def apply() -> None:
        try:
            outcomes.append(TOPOLOGY.apply(vhost_url).ok)
        except Exception as exc:
            errors.append(exc)

    threads = [threading.Thread(target=apply) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    assert outcomes == [True] * 6
    assert TOPOLOGY.check(vhost_url).ok


def test_drift_is_named_and_nothing_is_declared(vhost_url: str) -> None:
    Topology(lanes=(Lane(name="reports"),)).apply(vhost_url)
    changed = Topology(lanes=(Lane(name="reports", delivery_limit=5), Lane(name="new")))

    with pytest.raises(TopologyDrift) as caught:
        changed.apply(vhost_url)

    [difference] = caught.value.differences
    assert (difference.kind, difference.name) == ("queue", "metronome.reports")
    assert difference.argument == "x-delivery-limit"
    assert (difference.expected, difference.found) == ("5", "20")
    assert "queue metronome.new" in changed.check(vhost_url).missing


def test_an_exchange_of_another_type_is_drift(vhost_url: str) -> None:
    with Connection(vhost_url) as connection:
        connection.default_channel.exchange_declare(
            "metronome", "direct", durable=True, auto_delete=False
        )
    [difference] = TOPOLOGY.check(vhost_url).differences
    assert str(difference) == "exchange metronome: type expected topic, found direct"


def test_every_difference_is_listed(vhost_url: str) -> None:
    TOPOLOGY.apply(vhost_url)
    changed = Topology(
        lanes=(Lane(name="reports", max_length=9), Lane(name="mail", delivery_limit=2))
    )
    found = {each.name: each.argument for each in changed.check(vhost_url).differences}
    assert found == {
        "metronome.reports": "x-max-length",
        "metronome.mail": "x-delivery-limit",
    }


@pytest.mark.parametrize("exchange", ["metronome", "metronome.runs"])
def test_a_key_reaches_its_lane_and_no_other(vhost_url: str, exchange: str) -> None:
    TOPOLOGY.apply(vhost_url)
    assert not publish(vhost_url, exchange, "reports.shop:daily")
    depths = lane_depths(vhost_url, TOPOLOGY)
    assert {name: depth.messages for name, depth in depths.items()} == {
        "reports": 1,
        "mail": 0,
        "dead": 0,
        "unrouted": 0,
    }


def test_unroutable_is_kept_for_others_and_returned_to_beats(vhost_url: str) -> None:
    TOPOLOGY.apply(vhost_url)
    assert not publish(vhost_url, "metronome", "nolane.task")
    assert messages(vhost_url, "unrouted") == 1
    assert publish(vhost_url, "metronome.runs", "nolane.task")
    assert messages(vhost_url, "unrouted") == 1


def test_without_the_unrouted_queue_others_get_it_back(vhost_url: str) -> None:
    TOPOLOGY.apply(vhost_url)
    with Connection(vhost_url) as connection:
        connection.default_channel.queue_delete("metronome.unrouted")
    assert publish(vhost_url, "metronome", "nolane.task")
    assert not lane_depths(vhost_url, TOPOLOGY)["unrouted"].declared


def test_a_delayed_message_arrives_once_before_any_worker_ran(vhost_url: str) -> None:
    TOPOLOGY.apply(vhost_url)
    key = ".".join(f"{1:028b}") + ".reports.shop:daily"
    assert not publish(vhost_url, "celery_delayed_27", key)
    assert messages(vhost_url, "reports") == 0
    until(lambda: messages(vhost_url, "reports") == 1, "delayed by one second")
    depths = lane_depths(vhost_url, TOPOLOGY)
    assert sum(depth.messages for depth in depths.values()) == 1


def test_expired_and_rejected_end_in_dead(vhost_url: str) -> None:
    TOPOLOGY.apply(vhost_url)
    publish(vhost_url, "metronome", "reports.a", expiration="1")
    publish(vhost_url, "metronome", "mail.a")
    with Connection(vhost_url) as connection:
        channel = connection.default_channel
        got = channel.basic_get("metronome.mail")
        channel.basic_reject(got.delivery_tag, requeue=False)
        until(lambda: messages(vhost_url, "dead") == 2, "two dead letters")


def test_a_poison_task_is_dead_after_its_limit(vhost_url: str) -> None:
    topology = Topology(lanes=(Lane(name="reports", delivery_limit=2),))
    topology.apply(vhost_url)
    publish(vhost_url, "metronome", "reports.a")
    deliveries = 0
    with Connection(vhost_url) as connection:
        channel = connection.default_channel
        while (got := channel.basic_get("metronome.reports")) is not None:
            deliveries += 1
            assert deliveries <= 3
            channel.basic_reject(got.delivery_tag, requeue=True)
        until(
            lambda: lane_depths(vhost_url, topology)["dead"].messages == 1,
            "one dead letter",
        )
    assert deliveries == 3


def test_a_full_lane_refuses_and_keeps_what_it_has(vhost_url: str) -> None:
    topology = Topology(lanes=(Lane(name="reports", max_length=3),))
    topology.apply(vhost_url)
    publisher = Publisher(vhost_url)
    batch = [
        OutboundMessage(
            run_id=f"run-{n}",
            exchange=topology.run_exchange,
            routing_key="reports.a",
            body=b"{}",
        )
        for n in range(20)
    ]
    # One at a time: the limit of a quorum queue is soft, a burst runs over it.
    reports = [publisher.publish([message]) for message in batch]
    publisher.close()
    assert [report.error for report in reports] == [None] * len(batch)
    confirmed = sum(len(report.confirmed) for report in reports)
    nacked = sum(len(report.nacked) for report in reports)
    assert nacked > 0
    assert confirmed + nacked == len(batch)
    assert lane_depths(vhost_url, topology)["reports"].messages == confirmed


def test_depths_count_consumers_and_name_what_is_missing(vhost_url: str) -> None:
    TOPOLOGY.apply(vhost_url)
    with Connection(vhost_url) as connection:
        connection.default_channel.basic_consume("metronome.mail")
        wider = Topology(lanes=(*TOPOLOGY.lanes, Lane(name="later")))
        depths = lane_depths(vhost_url, wider)
    assert depths["mail"].consumers == 1
    assert depths["reports"].consumers == 0
    assert not depths["later"].declared


def test_a_wrong_password_is_one_sentence_without_it(rabbitmq: Rabbit) -> None:
    parts = urlsplit(rabbitmq.url)
    url = f"amqp://test:se-cret@{parts.hostname}:{parts.port}//"
    with pytest.raises(BrokerUnreachable, match="ACCESS_REFUSED") as caught:
        TOPOLOGY.apply(url)
    assert "se-cret" not in str(caught.value)


def test_a_frozen_broker_does_not_hold_anyone(own_rabbitmq: Rabbit) -> None:
    TOPOLOGY.apply(own_rabbitmq.url)
    own_rabbitmq.pause()
    try:
        for call in (TOPOLOGY.apply, TOPOLOGY.check):
            started = time.monotonic()
            with pytest.raises(BrokerUnreachable, match="no answer within 1 s"):
                call(own_rabbitmq.url, deadline=1.0)
            assert time.monotonic() - started < NOT_HELD_SECONDS
        started = time.monotonic()
        with pytest.raises(BrokerUnreachable, match="no answer within 1 s"):
            lane_depths(own_rabbitmq.url, TOPOLOGY, deadline=1.0)
        assert time.monotonic() - started < NOT_HELD_SECONDS
    finally:
        own_rabbitmq.unpause()
