"""The publisher against a real RabbitMQ, healthy and not."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from kombu import Connection
from rabbit import NOT_HELD_SECONDS, Rabbit

from metronome_broker import (
    OutboundMessage,
    Publisher,
    PublishReport,
    Topology,
    lane_depths,
    lanes_named,
)

TOPOLOGY = Topology(lanes=lanes_named(["reports"]))


def runs(count: int, *, lane: str = "reports", first: int = 0) -> list[OutboundMessage]:
    return [
        OutboundMessage(
            run_id=f"run-{number}",
            exchange=TOPOLOGY.run_exchange,
            routing_key=f"{lane}.shop:daily",
            body=b'[[], {}, {"chain": null}]',
            headers={"metronome_run": f"run-{number}", "task": "shop.daily"},
            properties={"correlation_id": f"run-{number}", "priority": None},
        )
        for number in range(first, first + count)
    ]


def ids(messages: list[OutboundMessage]) -> set[str]:
    return {message.run_id for message in messages}


@pytest.fixture
def publisher(vhost_url: str) -> Iterator[Publisher]:
    TOPOLOGY.apply(vhost_url)
    made = Publisher(vhost_url)
    yield made
    made.close()


def test_all_are_confirmed_and_there(publisher: Publisher, vhost_url: str) -> None:
    batch = runs(1000)
    report = publisher.publish(batch)
    assert report == PublishReport(confirmed=frozenset(ids(batch)))
    assert lane_depths(vhost_url, TOPOLOGY)["reports"].messages == 1000


def test_what_a_worker_receives(publisher: Publisher, vhost_url: str) -> None:
    [message] = runs(1)
    publisher.publish([message])
    with Connection(vhost_url) as connection:
        got = connection.default_channel.basic_get("metronome.reports", no_ack=True)
    assert got.body.encode() == message.body
    assert got.headers == message.headers
    assert got.properties["message_id"] == "run-0"
    assert got.properties["correlation_id"] == "run-0"
    assert got.properties["delivery_mode"] == 2
    assert "priority" not in got.properties
    assert got.delivery_info["routing_key"] == "reports.shop:daily"


def test_unroutable_among_routable_are_told_apart(publisher: Publisher) -> None:
    good, bad = runs(50), runs(50, lane="nolane", first=50)
    mixed = [message for pair in zip(good, bad, strict=True) for message in pair]
    report = publisher.publish(mixed)
    assert report.error is None
    assert report.confirmed == ids(good)
    assert report.returned.keys() == ids(bad)
    assert "NO_ROUTE" in report.returned["run-50"]
    assert report.unknown == frozenset()


def test_a_missing_exchange_is_unknown_and_the_next_batch_works(
    publisher: Publisher,
) -> None:
    lost = OutboundMessage(
        run_id="lost", exchange="nowhere", routing_key="reports.a", body=b""
    )
    report = publisher.publish([lost])
    assert report.unknown == {"lost"}
    assert report.error is not None
    assert "no exchange 'nowhere'" in report.error
    assert publisher.publish(runs(3)).confirmed == ids(runs(3))


def test_a_connection_closed_while_idle_costs_nothing(
    own_rabbitmq: Rabbit,
) -> None:
    TOPOLOGY.apply(own_rabbitmq.url)
    publisher = Publisher(own_rabbitmq.url)
    publisher.publish(runs(1))
    own_rabbitmq.ctl("close_all_connections", "test")
    report = publisher.publish(runs(5))
    publisher.close()
    assert report == PublishReport(confirmed=frozenset(ids(runs(5))))


def test_a_broker_that_is_away_and_comes_back(own_rabbitmq: Rabbit) -> None:
    TOPOLOGY.apply(own_rabbitmq.url)
    publisher = Publisher(own_rabbitmq.url, connect_timeout=1, confirm_timeout=2)
    assert publisher.publish(runs(5)).error is None
    own_rabbitmq.kill()

    started = time.monotonic()
    report = publisher.publish(runs(5))
    assert time.monotonic() - started < NOT_HELD_SECONDS
    assert report.unknown == ids(runs(5))
    assert report.error is not None
    assert "cannot be reached" in report.error
    assert ":**@" in report.error

    own_rabbitmq.start()
    assert publisher.publish(runs(5)).confirmed == ids(runs(5))
    publisher.close()


def test_a_frozen_broker_holds_nobody_longer_than_the_deadline(
    own_rabbitmq: Rabbit,
) -> None:
    TOPOLOGY.apply(own_rabbitmq.url)
    publisher = Publisher(own_rabbitmq.url, connect_timeout=1, confirm_timeout=1)
    assert publisher.publish(runs(5)).error is None
    own_rabbitmq.pause()
    try:
        # Far more than the sockets' buffers hold, so that writing blocks too.
        heavy = [
            OutboundMessage(
                run_id=f"heavy-{n}",
                exchange=TOPOLOGY.run_exchange,
                routing_key="reports.a",
                body=b"x" * 1_000_000,
            )
            for n in range(60)
        ]
        for batch in (heavy, runs(5)):
            started = time.monotonic()
            report = publisher.publish(batch)
            assert time.monotonic() - started < NOT_HELD_SECONDS
            assert report.unknown == ids(batch)
    finally:
        own_rabbitmq.unpause()
    assert publisher.publish(runs(5)).confirmed == ids(runs(5))
    publisher.close()


def test_an_alarm_blocks_is_said_and_ends(own_rabbitmq: Rabbit) -> None:
    TOPOLOGY.apply(own_rabbitmq.url)
    publisher = Publisher(own_rabbitmq.url, confirm_timeout=1)
    assert publisher.publish(runs(1)).error is None
    assert not publisher.blocked

    own_rabbitmq.ctl("set_vm_memory_high_watermark", "0.0001")
    report = publisher.publish(runs(5))
    assert report.unknown == ids(runs(5))
    assert report.error is not None
    assert "blocked publishing" in report.error
    assert publisher.blocked

    own_rabbitmq.ctl("set_vm_memory_high_watermark", "0.6")
    assert publisher.publish(runs(5)).confirmed == ids(runs(5))
    assert not publisher.blocked
    publisher.close()


def test_close_from_another_thread_ends_a_publish_at_once(
    own_rabbitmq: Rabbit,
) -> None:
    TOPOLOGY.apply(own_rabbitmq.url)
    publisher = Publisher(own_rabbitmq.url, confirm_timeout=30)
    assert publisher.publish(runs(1)).error is None
    own_rabbitmq.pause()
    try:
        reports: list[PublishReport] = []
        thread = threading.Thread(
            target=lambda: reports.append(publisher.publish(runs(5)))
        )
        thread.start()
        while not publisher._lock.locked():
            time.sleep(0.001)
        started = time.monotonic()
        publisher.close()
        assert time.monotonic() - started < NOT_HELD_SECONDS
        thread.join(NOT_HELD_SECONDS)
        assert not thread.is_alive()
    finally:
        own_rabbitmq.unpause()
    assert reports[0].unknown == ids(runs(5))
    assert reports[0].error == "the publisher was closed"
    assert publisher.publish(runs(2)).unknown == ids(runs(2))
