"""Mutes: what is recorded then, and told nobody."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import select

from flask_metronome.models import incidents, messages
from flask_metronome.monitor import Monitor
from flask_metronome.store import mutes


@pytest.fixture
def told(world: Any) -> Any:
    """A world with one channel; nothing is ever sent."""
    world.settings = replace(world.settings, webhook_urls=("http://127.0.0.1:9/",))
    return world


def found(world: Any) -> Any:
    """The one incident that is part of no other."""
    with world.database.read() as connection:
        whole = select(incidents).where(incidents.c.part_of.is_(None))
        return connection.execute(whole).one()


def said(world: Any) -> list[str]:
    with world.database.read() as connection:
        names = select(messages.c.type).order_by(messages.c.created_at)
        return [name.partition(".")[2] for name in connection.scalars(names)]


def end(world: Any, schedule: str, state: str) -> None:
    world.clock.tick(1)
    missed = {"missed": True, "reason": "scheduler_down"} if state == "missed" else {}
    world.run(schedule, state, finished_at=world.now, **missed)


def after(world: Any, monitor: Monitor, schedule: str, state: str) -> None:
    end(world, schedule, state)
    world.sweep(monitor)


def mute(world: Any, scope: str, until_at: datetime | None = None) -> None:
    with world.database.begin() as connection:
        mutes.add(
            connection,
            scope=scope,
            lanes=("mail",),
            from_at=None,
            until_at=until_at,
            reason="works",
            who="me",
            now=world.now,
        )


def test_muted_is_recorded_and_told_when_the_mute_is_over(told: Any) -> None:
    schedule = told.schedule(lane="mail")
    monitor = told.settled()
    mute(told, "lane:mail", until_at=told.ago(-100))
    after(told, monitor, schedule, "failed")
    assert (found(told).muted, said(told)) == (True, [])
    told.wait(monitor, 98)
    assert said(told) == []
    told.wait(monitor, 2)
    assert (found(told).muted, said(told)) == (False, ["opened"])


def test_a_mute_holds_for_the_end_of_what_was_told_before(told: Any) -> None:
    schedule = told.schedule()
    monitor = told.settled()
    after(told, monitor, schedule, "failed")
    assert said(told) == ["opened"]
    mute(told, "schedule:tick")
    after(told, monitor, schedule, "succeeded")
    assert (found(told).state, said(told)) == ("closed", ["opened"])


@pytest.mark.parametrize(("muted", "heard"), [(5, []), (4, ["opened"])])
def test_one_of_many_is_muted_when_each_of_them_is(
    told: Any, muted: int, heard: list[str]
) -> None:
    keys = [told.schedule(f"s{number}") for number in range(5)]
    monitor = told.settled()
    for number in range(muted):
        mute(told, f"schedule:s{number}")
    for key in keys:
        end(told, key, "missed")
    told.wait(monitor, 45)
    assert (found(told).kind, found(told).muted) == ("system", not heard)
    assert said(told) == heard
