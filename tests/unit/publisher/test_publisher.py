"""The publisher against a scripted AMQP peer."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from typing import Any

import amqp
import pytest
from amqp import spec
from scripted_peer import METHOD, Peer, Play, acking, runs, silent

from metronome_broker import (
    BrokerError,
    InvalidMessage,
    OutboundMessage,
    Publisher,
    PublishReport,
)


def test_nothing_to_publish_opens_nothing(play: Play) -> None:
    broker, publisher = play(acking)
    assert publisher.publish([]) == PublishReport()
    assert broker.peers == []


def test_each_message_has_its_own_fate(play: Play) -> None:
    def script(peer: Peer, number: int) -> None:
        if number == 2:
            peer.give_back()
        if number == 5:
            peer.ack(3, multiple=True)
            peer.nack(4)
            peer.ack(5)

    _, publisher = play(script)
    report = publisher.publish(runs("a", "b", "c", "d", "e"))
    assert report.confirmed == {"a", "c", "e"}
    assert report.nacked == {"d"}
    assert report.returned == {"b": "NO_ROUTE (312): no queue takes 'y' from 'x'"}
    assert report.unknown == frozenset()
    assert report.error is None


def test_a_second_batch_uses_the_same_channel(play: Play) -> None:
    broker, publisher = play(acking)
    assert publisher.publish(runs("a")).confirmed == {"a"}
    assert publisher.publish(runs("b", "c")).confirmed == {"b", "c"}
    [peer] = broker.peers
    assert peer.published == ["a", "b", "c"]


def test_no_more_than_the_window_is_unconfirmed(play: Play) -> None:
    held: list[int] = []

    def script(peer: Peer, number: int) -> None:
        held.append(number)
        if len(held) == 3:  # the third of three: nothing more comes before an answer
            peer._sock.settimeout(0.05)
            with pytest.raises(TimeoutError):
                peer._sock.recv(1, socket.MSG_PEEK)
            peer._sock.settimeout(None)
            peer.ack(number, multiple=True)
            held.clear()

    _, publisher = play(script, window=3, confirm_timeout=5.0)
    names = [f"run-{n}" for n in range(9)]
    assert publisher.publish(runs(*names)).confirmed == set(names)


def test_silence_makes_unknown_within_the_deadline(play: Play) -> None:
    _, publisher = play(silent)
    started = time.monotonic()
    report = publisher.publish(runs("a", "b"))
    assert 0.25 < time.monotonic() - started < 1.0
    assert report.unknown == {"a", "b"}
    assert report.error == "broker left 2 sent messages unanswered for 0.3 s"


def test_a_late_ack_confirms_nothing(play: Play) -> None:
    def script(peer: Peer, _number: int) -> None:
        if peer.published == ["second"]:
            with contextlib.suppress(OSError):
                broker.peers[0].ack(1)  # for "first", after it was given up

    broker, publisher = play(script)
    assert publisher.publish(runs("first")).unknown == {"first"}
    assert publisher.publish(runs("second")).unknown == {"second"}
    assert len(broker.peers) == 2


def test_control_amqps_own_confirm_takes_a_late_ack_for_the_wrong_message(
    play: Play,
) -> None:
    """Why ``basic_publish_confirm`` is not used: the same script, a false success."""

    def script(peer: Peer, number: int) -> None:
        if number == 2:
            peer.ack(1)  # only the first message is ever acked

    broker, _ = play(script)
    connection = amqp.Connection(
        f"127.0.0.1:{broker.port}", userid="u", password="p", login_method="PLAIN"
    )
    connection.connect()
    channel = connection.channel()
    with pytest.raises(TimeoutError):
        channel.basic_publish_confirm(
            amqp.Message("1"), routing_key="y", confirm_timeout=0.2
        )
    # Returns as if the second had been confirmed.
    channel.basic_publish_confirm(
        amqp.Message("2"), routing_key="y", confirm_timeout=2.0
    )
    connection.collect()


def test_an_ack_for_what_was_never_sent_ends_the_channel(play: Play) -> None:
    broker, publisher = play(lambda peer, _number: peer.ack(99))
    report = publisher.publish(runs("a"))
    assert report.unknown == {"a"}
    assert "delivery tag 99" in str(report.error)
    publisher.publish(runs("a"))
    assert len(broker.peers) == 2


def test_what_was_answered_before_the_break_still_counts(play: Play) -> None:
    def script(peer: Peer, number: int) -> None:
        if number == 2:
            peer.ack(1)
            peer.hang_up()

    _, publisher = play(script)
    report = publisher.publish(runs("a", "b"))
    assert report.confirmed == {"a"}
    assert report.unknown == {"b"}
    assert "cannot be reached" in str(report.error)


def test_a_channel_closed_by_the_broker_is_named(play: Play) -> None:
    def script(peer: Peer, _number: int) -> None:
        peer.method(
            spec.Channel.Close, "BsBB", 404, "NOT_FOUND - no exchange 'x'", 60, 40
        )

    _, publisher = play(script)
    report = publisher.publish(runs("a"))
    assert report.unknown == {"a"}
    assert "no exchange 'x'" in str(report.error)


def test_a_goodbye_while_idle_is_seen_before_sending(play: Play) -> None:
    broker, publisher = play(acking)
    publisher.publish(runs("a"))
    broker.peers[0].hang_up()
    assert publisher.publish(runs("b")) == PublishReport(confirmed=frozenset({"b"}))
    assert len(broker.peers) == 2


def test_an_alarm_is_reported_and_remembered_until_a_success(play: Play) -> None:
    def script(peer: Peer, number: int) -> None:
        if len(broker.peers) == 1:
            peer.method(spec.Connection.Blocked, "s", "low on memory", channel=0)
        else:
            peer.ack(number)

    broker, publisher = play(script)
    report = publisher.publish(runs("a"))
    assert report.unknown == {"a"}
    assert "blocked publishing" in str(report.error)
    assert publisher.blocked
    assert publisher.publish(runs("a")).confirmed == {"a"}
    assert not publisher.blocked


def test_publishing_goes_on_when_the_alarm_ends_in_time(play: Play) -> None:
    def script(peer: Peer, number: int) -> None:
        if number == 1:
            peer.method(spec.Connection.Blocked, "s", "low on memory", channel=0)
            peer.method(spec.Connection.Unblocked, channel=0)
        peer.ack(number)

    _, publisher = play(script, window=1)
    assert publisher.publish(runs("a", "b")).confirmed == {"a", "b"}
    assert not publisher.blocked


def test_a_frame_cut_in_the_middle_does_not_hold_the_publisher(play: Play) -> None:
    # py-amqp reads the rest of a frame without a timeout of its own.
    def script(peer: Peer, _number: int) -> None:
        peer.raw(struct.pack(">BHI", METHOD, 1, 13) + b"\x00")

    _, publisher = play(script)
    started = time.monotonic()
    report = publisher.publish(runs("a", "b"))
    assert time.monotonic() - started < 1.5
    assert report.unknown == {"a", "b"}


def test_heartbeats_do_not_renew_the_deadline(play: Play) -> None:
    stop = threading.Event()

    def script(peer: Peer, _number: int) -> None:
        with contextlib.suppress(OSError):
            while not stop.wait(0.02):
                peer.frame(8, b"", channel=0)

    _, publisher = play(script)
    started = time.monotonic()
    report = publisher.publish(runs("a"))
    stop.set()
    assert time.monotonic() - started < 1.0
    assert report.unknown == {"a"}


@pytest.mark.parametrize("garbage", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\xff" * 64])
def test_garbage_is_an_unknown_outcome_and_no_exception(
    play: Play, garbage: bytes
) -> None:
    _, publisher = play(lambda peer, _number: peer.raw(garbage))
    assert publisher.publish(runs("a")).unknown == {"a"}


def test_a_peer_that_accepts_and_says_nothing_is_left(play: Play) -> None:
    _, publisher = play(silent, mute=True, connect_timeout=0.3)
    started = time.monotonic()
    report = publisher.publish(runs("a"))
    assert time.monotonic() - started < 1.0
    assert report.unknown == {"a"}
    assert "no answer within 0.3 s while connecting" in str(report.error)
    assert "pass-word" not in str(report.error)


def test_nobody_listens(play: Play) -> None:
    broker, publisher = play(silent)
    broker.close()
    report = publisher.publish(runs("a"))
    assert report.unknown == {"a"}
    assert "cannot be reached" in str(report.error)


def test_of_several_urls_the_next_is_tried_in_the_next_batch(play: Play) -> None:
    gone, _ = play(silent)
    gone.close()
    here, _ = play(acking)
    publisher = Publisher(f"{gone.url};{here.url}", connect_timeout=1.0)
    assert publisher.publish(runs("a")).unknown == {"a"}
    assert publisher.publish(runs("a")).confirmed == {"a"}
    assert publisher.publish(runs("b")).confirmed == {"b"}
    publisher.close()
    assert len(here.peers) == 1


def test_close_during_a_publish_ends_it_within_a_second(play: Play) -> None:
    sent = threading.Event()
    _, publisher = play(lambda _peer, _number: sent.set(), confirm_timeout=30.0)
    reports: list[PublishReport] = []
    thread = threading.Thread(
        target=lambda: reports.append(publisher.publish(runs("a")))
    )
    thread.start()
    assert sent.wait(5)
    started = time.monotonic()
    publisher.close()
    assert time.monotonic() - started < 1.0
    thread.join(1)
    assert reports == [
        PublishReport(unknown=frozenset({"a"}), error="the publisher was closed")
    ]


def test_after_close_everything_is_unknown_and_nothing_connects(play: Play) -> None:
    broker, publisher = play(acking)
    publisher.close()
    publisher.close()
    assert publisher.publish(runs("a")).error == "the publisher was closed"
    assert broker.peers == []


def test_mistakes_of_the_caller_are_exceptions(play: Play) -> None:
    broker, publisher = play(acking)
    with pytest.raises(InvalidMessage, match="each run_id once"):
        publisher.publish(runs("a", "a"))
    with pytest.raises(BrokerError, match="must start with amqp://"):
        Publisher("redis://localhost/0")
    with pytest.raises(ValueError, match="window must be at least 1"):
        Publisher(broker.url, window=0)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("run_id", "", "run_id must be a non-empty"),
        ("run_id", "x" * 256, "run_id must be a string of at most 255"),
        ("routing_key", "ä" * 128, "routing_key must be a string of at most 255"),
        ("body", "text", "body must be at most 16777216 bytes, not str"),
        ("body", b"x" * (16 * 1024 * 1024 + 1), "not 16777217 bytes"),
        ("headers", {"when": object()}, "headers must be values"),
        ("properties", {"colour": 1}, "property must be one of"),
        ("properties", {"expiration_ms": -1}, "expiration_ms must be a whole number"),
        ("properties", {"expiration_ms": 1.5}, "expiration_ms must be a whole number"),
        ("properties", {"priority": 256}, "priority must be a whole number"),
        ("properties", {"reply_to": 7}, "reply_to must be a string"),
    ],
)
def test_what_can_never_be_sent_is_refused_when_built(
    field: str, value: object, said: str
) -> None:
    good: dict[str, Any] = {"run_id": "a", "exchange": "x", "routing_key": "y"}
    with pytest.raises(InvalidMessage, match=said):
        OutboundMessage(**{**good, "body": b"", field: value})
