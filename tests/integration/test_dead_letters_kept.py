"""Dead letters are kept in order, told of once, and go back when somebody says so."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from amqp import Message
from kombu import Connection

from metronome_broker import (
    BrokerError,
    DeadLetter,
    DeadLetterNews,
    Fate,
    Lane,
    Topology,
    lane_depths,
    list_dead_letters,
    settle_dead_letters,
)

TOPOLOGY = Topology(lanes=(Lane(name="mail", delivery_limit=2), Lane(name="reports")))


@pytest.fixture
def channel(vhost_url: str) -> Iterator[Any]:
    TOPOLOGY.apply(vhost_url)
    with Connection(vhost_url, transport_options={"confirm_publish": True}) as opened:
        yield opened.default_channel


def send(channel: Any, name: str, *, lane: str = "mail", **properties: Any) -> None:
    """A task message of a run called so."""
    headers = {
        "id": name,
        "task": "app.send",
        "retries": 1,
        "metronome_run": name,
        "expires": "2020-01-01T00:00:00+00:00",
    }
    message = Message(
        f'["{name}"]',
        content_type="application/json",
        content_encoding="utf-8",
        correlation_id=name,
        delivery_mode=2,
        application_headers=headers,
        **properties,
    )
    channel.basic_publish_confirm(message, "metronome.runs", f"{lane}.app:send")


def reject(channel: Any, lane: str = "mail") -> None:
    while True:
        message = channel.basic_get(f"metronome.{lane}")
        if message is not None:
            channel.basic_reject(message.delivery_tag, requeue=False)
            return


def dead(vhost_url: str, *, count: int) -> list[DeadLetter]:
    """The dead letters, once there are so many."""
    while True:
        letters = list_dead_letters(vhost_url, TOPOLOGY)
        if len(letters) >= count:
            return letters


def names(letters: list[DeadLetter]) -> list[str | None]:
    return [letter.task_id for letter in letters]


def test_looking_leaves_them_in_their_order(channel: Any, vhost_url: str) -> None:
    for name in "abc":
        send(channel, name)
        reject(channel)
    first = dead(vhost_url, count=3)
    assert names(first) == ["a", "b", "c"]
    letter = first[0]
    assert (letter.run_id, letter.task, letter.retries) == ("a", "app.send", 1)
    assert (letter.lane, letter.reason) == ("mail", "rejected")
    assert letter.body == b'["a"]'
    assert letter.died_at is not None
    for _ in range(25):  # a queue without a limit of its own drops it at the 20th
        assert names(list_dead_letters(vhost_url, TOPOLOGY)) == ["a", "b", "c"]
    assert names(list_dead_letters(vhost_url, TOPOLOGY, limit=2)) == ["a", "b"]


def test_the_reason_and_the_lane(channel: Any, vhost_url: str) -> None:
    send(channel, "old", lane="reports", expiration="1")
    send(channel, "poison")
    for _ in range(3):
        message = None
        while message is None:
            message = channel.basic_get("metronome.mail")
        channel.basic_reject(message.delivery_tag, requeue=True)
    found = {d.task_id: (d.lane, d.reason) for d in dead(vhost_url, count=2)}
    assert found == {
        "old": ("reports", "expired"),
        "poison": ("mail", "delivery_limit"),
    }


def test_a_delay_is_no_death(channel: Any, vhost_url: str) -> None:
    """Celery's delayed delivery lets a message expire from queue to queue."""
    delayed = Message("[]", application_headers={"id": "d", "task": "app.send"})
    key = ".".join(["0"] * 27 + ["1", "mail", "app:send"])
    channel.basic_publish_confirm(delayed, "celery_delayed_27", key)
    reject(channel)
    [letter] = dead(vhost_url, count=1)
    assert (letter.lane, letter.reason) == ("mail", "rejected")


def test_what_goes_back_is_as_it_was(channel: Any, vhost_url: str) -> None:
    for name in "abc":
        send(channel, name)
        reject(channel)
    dead(vhost_url, count=3)
    fates = {"a": Fate.REPUBLISH, "b": Fate.KEEP, "c": Fate.DISCARD}
    settled = settle_dead_letters(vhost_url, TOPOLOGY, lambda d: fates[d.task_id or ""])
    assert [(d.task_id, fate) for d, fate in settled] == list(fates.items())
    message = channel.basic_get("metronome.mail")
    headers = message.headers
    assert message.body in ('["a"]', b'["a"]')
    assert (headers["id"], headers["retries"]) == ("a", 1)
    # its old limit would kill it at once, and the broker's note of its death is
    # taken for a circle by RabbitMQ before 4.0
    assert headers["expires"] is None
    assert not [name for name in headers if "death" in name]
    assert names(list_dead_letters(vhost_url, TOPOLOGY)) == ["b"]


def test_of_two_with_one_id_one_goes_back(channel: Any, vhost_url: str) -> None:
    for _ in range(2):
        send(channel, "twin")
        reject(channel)
    dead(vhost_url, count=2)
    settled = settle_dead_letters(vhost_url, TOPOLOGY, lambda _: Fate.REPUBLISH)
    assert [fate for _, fate in settled] == [Fate.REPUBLISH, Fate.KEEP]
    assert lane_depths(vhost_url, TOPOLOGY)["mail"].messages == 1


def test_what_is_no_task_message_cannot_go_back(channel: Any, vhost_url: str) -> None:
    channel.basic_publish_confirm(Message("hello"), "metronome.dead", "anything")
    [letter] = dead(vhost_url, count=1)
    assert (letter.task_id, letter.lane, letter.reason) == (None, None, "unknown")
    with pytest.raises(BrokerError, match="must be a task message of a known lane"):
        settle_dead_letters(vhost_url, TOPOLOGY, lambda _: Fate.REPUBLISH)
    assert len(list_dead_letters(vhost_url, TOPOLOGY)) == 1


def test_news_come_once_and_stay_until_they_are_handled(
    channel: Any, vhost_url: str
) -> None:
    for name in "ab":
        send(channel, name)
        reject(channel)
    dead(vhost_url, count=2)
    news = DeadLetterNews(vhost_url, TOPOLOGY)
    heard: list[str | None] = []

    def fail(letters: Any) -> None:
        raise OSError("the database is away")

    with pytest.raises(OSError, match="away"):
        news.take(fail)
    assert news.take(lambda letters: heard.extend(names(list(letters)))) == 2
    assert news.take(lambda letters: heard.extend(names(list(letters)))) == 0
    news.close()
    assert heard == ["a", "b"]
    # what is kept for people is as it was
    assert names(list_dead_letters(vhost_url, TOPOLOGY)) == ["a", "b"]


def test_without_a_topology(vhost_url: str) -> None:
    with pytest.raises(BrokerError, match="does not exist: apply the topology"):
        list_dead_letters(vhost_url, TOPOLOGY)
    news = DeadLetterNews(vhost_url, TOPOLOGY)
    assert news.take(lambda _: None) == 0
    news.close()
    assert TOPOLOGY.check(vhost_url).ok
