"""The outbox of notifications: tried again with pauses, given up, settled once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, select

from flask_metronome.database import Database
from flask_metronome.messenger import LEASE_SECONDS, Messenger
from flask_metronome.models import counters, messages, metadata
from flask_metronome.store import message_outbox
from flask_metronome.testing import SettableClock
from metronome_monitoring.notify.channel import Notification, NotSent

START = datetime(2026, 1, 1, 12, tzinfo=UTC)
BODY = {"type": "incident.opened", "data": {"title": "T", "text": "X"}}


@dataclass
class Wire:
    """A channel that does as it is told."""

    kind: str = "mail"
    id: str = "mail:1"
    shown: str = "mail"
    error: Exception | None = None
    sent: list[Notification] = field(default_factory=list)

    def send(self, notification: Notification) -> None:
        if self.error is not None:
            raise self.error
        self.sent.append(notification)


@dataclass
class Post:
    database: Database
    clock: SettableClock
    wire: Wire = field(default_factory=Wire)

    def messenger(self) -> Messenger:
        return Messenger(self.database, self.wire)

    def put(self, *, id: str = "m1", destination: str = "mail:1") -> None:
        row = message_outbox.row(
            id=id,
            kind=message_outbox.NOTICE,
            destination=destination,
            body=BODY,
            now=self.clock.moment,
        )
        with self.database.begin() as connection:
            message_outbox.add(connection, [row])

    def row(self, id: str = "m1") -> Any:
        with self.database.read() as connection:
            return connection.execute(select(messages).where(messages.c.id == id)).one()

    def counted(self) -> dict[str, int]:
        with self.database.read() as connection:
            rows = connection.execute(select(counters.c.label, counters.c.value))
            return {row.label: row.value for row in rows}


@pytest.fixture
def post(tmp_path: Path) -> Iterator[Post]:
    url = f"sqlite:///{tmp_path / 'post.sqlite'}"
    engine = create_engine(url)
    metadata.create_all(engine)
    engine.dispose()
    clock = SettableClock(START)
    database = Database(url, clock=clock)
    yield Post(database=database, clock=clock)
    database.dispose()


def test_what_is_sent_is_settled_and_counted(post: Post) -> None:
    post.put()
    post.put()
    assert post.messenger().turn() == 1
    assert post.messenger().turn() == 0
    (sent,) = post.wire.sent
    assert (sent.id, sent.title, sent.timestamp) == ("m1", "T", int(START.timestamp()))
    assert (post.row().state, post.counted()) == ("sent", {"mail:sent": 1})


def test_a_failure_is_tried_again_after_growing_pauses(post: Post) -> None:
    post.put()
    post.wire.error = NotSent("away")
    messenger = post.messenger()
    for pause in (5, 10, 20):
        assert messenger.turn() == 1
        assert (post.row().state, post.row().error) == ("pending", "away")
        post.clock.tick(pause - 0.1)
        assert messenger.turn() == 0
        post.clock.tick(0.2)
    post.wire.error = None
    assert messenger.turn() == 1
    assert (post.row().state, post.row().error) == ("sent", None)
    assert post.counted() == {"mail:failed": 3, "mail:sent": 1}


def test_it_is_given_up_after_its_last_try(post: Post) -> None:
    post.put()
    post.wire.error = RuntimeError("a library's own")
    messenger = post.messenger()
    for _ in range(message_outbox.MOST_TRIES):
        assert post.row().state == "pending"
        assert messenger.turn() == 1
        post.clock.tick(3600)
    assert (post.row().state, messenger.turn()) == ("failed", 0)
    assert post.counted() == {
        "mail:failed": message_outbox.MOST_TRIES - 1,
        "mail:given_up": 1,
    }


def test_a_final_refusal_and_a_channel_that_is_gone_are_given_up(post: Post) -> None:
    post.put()
    post.put(id="m2", destination="webhook:gone")
    post.wire.error = NotSent("gone", final=True)
    messenger = post.messenger()
    assert [messenger.turn() for _ in range(3)] == [1, 1, 0]
    assert {post.row(name).state for name in ("m1", "m2")} == {"failed"}
    assert "not set up" in post.row("m2").error


def test_a_channel_leaves_what_is_for_another_to_it(post: Post) -> None:
    hook = Wire(kind="webhook", id="webhook:1", error=NotSent("away"))
    for number in range(3):
        post.put(id=f"h{number}", destination=hook.id)
    post.put()
    mails = Messenger(post.database, post.wire, others=[hook.id])
    hooks = Messenger(post.database, hook, others=[post.wire.id])
    assert [mails.turn(), mails.turn()] == [1, 0]
    assert [one.id for one in post.wire.sent] == ["m1"]
    # one after the other: what it does not come to is not claimed
    assert hooks.turn() == 1
    assert sum(post.row(f"h{number}").tries for number in range(3)) == 1


def test_one_that_is_being_sent_is_not_sent_twice(post: Post) -> None:
    post.put()

    def claimed() -> int:
        with post.database.begin() as connection:
            return len(
                message_outbox.claim(
                    connection,
                    message_outbox.NOTICE,
                    now=post.clock.moment,
                    lease_seconds=LEASE_SECONDS,
                    limit=9,
                )
            )

    assert claimed() == 1
    post.clock.tick(LEASE_SECONDS - 1)
    assert (claimed(), post.messenger().turn()) == (0, 0)
    # whoever had it is dead
    post.clock.tick(2)
    assert post.messenger().turn() == 1


def test_what_was_settled_long_ago_goes(post: Post) -> None:
    post.put()
    post.put(id="m2")
    messenger = post.messenger()
    assert [messenger.turn() for _ in range(2)] == [1, 1]
    post.put(id="m3")
    post.clock.tick(29 * 86_400)

    def pruned() -> int:
        with post.database.begin() as connection:
            return message_outbox.prune(connection, batch=9, now=post.clock.moment)

    assert pruned() == 0
    post.clock.tick(2 * 86_400)
    assert pruned() == 2
    assert post.row("m3").state == "pending"


def test_what_nothing_is_set_up_to_send_is_given_up(post: Post) -> None:
    post.put()

    def pruned(*unsent: str) -> int:
        with post.database.begin() as connection:
            return message_outbox.prune(
                connection, batch=9, now=post.clock.moment, unsent=unsent
            )

    assert (pruned(), pruned(message_outbox.EVENT)) == (0, 0)
    assert post.row().state == "pending"
    assert pruned(message_outbox.NOTICE) == 1
    assert (post.row().state, post.messenger().turn()) == ("failed", 0)
