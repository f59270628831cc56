"""Of two monitors one is killed after each of its transactions: who is told of it.

An opening is told once: one message in the outbox. Only between sending it and
recording that can it go out twice, and then under one id.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from flask_metronome.messenger import LEASE_SECONDS, Messenger
from flask_metronome.models import incidents, messages
from flask_metronome.monitor import LEASE_TTL_SECONDS
from flask_metronome.store import telling, watching
from metronome_monitoring.notify.channel import Notification

HOOK = "http://127.0.0.1:9/"


class Killed(BaseException):
    """The process is gone."""


@dataclass(kw_only=True)
class Mortal:
    """A database whose process is killed once so many transactions are committed."""

    database: Any
    left: int
    commits: int = 0

    @contextmanager
    def begin(self) -> Iterator[Any]:
        with self.database.begin() as connection:
            yield connection
        self.commits += 1
        if self.commits == self.left:
            raise Killed

    def __getattr__(self, name: str) -> Any:
        return getattr(self.database, name)


@dataclass(kw_only=True)
class Hook:
    """A channel of notifications that keeps what it was given."""

    id: str = f"webhook:{HOOK}"
    shown: str = "a hook"
    sent: list[str] = field(default_factory=list)

    def send(self, notification: Notification) -> None:
        self.sent.append(notification.id)


def told(world: Any, killed_after: int) -> tuple[int, list[str]]:
    """Let one monitor be killed and another go on; its commits, and what was sent."""
    world.settings = replace(world.settings, webhook_urls=(HOOK,))
    schedule = world.schedule()
    hook, whole = Hook(), world.database
    first = world.settled()
    channel = next(iter(first._telling.channels))
    hook.id = channel
    world.clock.tick(1)
    world.run(schedule, "failed", finished_at=world.now)
    mortal = Mortal(database=whole, left=killed_after)
    first._database = mortal
    try:
        world.sweep(first)
        Messenger(mortal, hook).turn()
    except Killed:
        pass
    world.clock.tick(max(LEASE_TTL_SECONDS, LEASE_SECONDS) + 1)
    second = world.monitor()
    for _ in range(2):
        assert world.sweep(second).elected
        Messenger(whole, hook).turn()
        world.clock.tick(1)
    return mortal.commits, hook.sent


def openings(world: Any) -> list[str]:
    """The outbox's messages of the one incident that there must be."""
    with world.database.read() as connection:
        assert len(connection.execute(select(incidents)).all()) == 1
        return list(connection.scalars(select(messages.c.type)))


def test_whenever_one_is_killed_the_opening_is_told_once(
    new_world: Any, tmp_path: Path
) -> None:
    points, _ = told(new_world(tmp_path / "whole"), 0)
    assert points > 15
    for point in range(1, points + 1):
        world = new_world(tmp_path / str(point))
        commits, sent = told(world, point)
        assert commits == point
        assert openings(world) == ["incident.opened"], point
        assert len(sent) == 1, point
        world.database.dispose()


def test_a_monitor_that_forgets_whom_it_told_is_found(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: without the mark and the message's own id the check above fails."""
    kept = watching._set

    def forgetful(connection: Any, incident_id: str, **values: Any) -> None:
        values.pop("notified_at", None)
        if values:
            kept(connection, incident_id, **values)

    monkeypatch.setattr(watching, "_set", forgetful)
    monkeypatch.setattr(telling.uuid, "uuid5", lambda *_: uuid.uuid4())
    _, sent = told(world, 0)
    assert len(set(sent)) > 1
    assert len(openings(world)) > 1


def test_one_killed_after_sending_sends_again_under_the_same_id(world: Any) -> None:
    """The one moment in which a message may go out twice."""
    world.settings = replace(world.settings, webhook_urls=(HOOK,))
    schedule = world.schedule()
    monitor = world.settled()
    world.run(schedule, "failed", finished_at=world.now)
    world.sweep(monitor)
    hook = Hook(id=next(iter(monitor._telling.channels)))
    send = hook.send

    def send_and_die(notification: Notification) -> None:
        send(notification)
        raise Killed

    hook.send = send_and_die  # type: ignore[method-assign]
    with pytest.raises(Killed):
        Messenger(world.database, hook).turn()
    hook.send = send  # type: ignore[method-assign]
    assert Messenger(world.database, hook).turn() == 0
    world.clock.tick(LEASE_SECONDS + 1)
    assert Messenger(world.database, hook).turn() == 1
    assert len(hook.sent) == 2
    assert len(set(hook.sent)) == 1
