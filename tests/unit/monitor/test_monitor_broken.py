"""A schedule that was set aside is planned no more: somebody hears of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sqlalchemy import select

from flask_metronome.models import incidents, messages
from flask_metronome.store import schedules as schedule_store


def found(world: Any) -> list[Any]:
    with world.database.read() as connection:
        return list(connection.execute(select(incidents)))


def titles(world: Any) -> list[str]:
    with world.database.read() as connection:
        bodies = connection.scalars(
            select(messages.c.body).order_by(messages.c.created_at)
        )
        return [body["data"]["title"] for body in bodies]


def test_it_opens_once_and_closes_when_it_is_mended(world: Any) -> None:
    world.settings = replace(world.settings, webhook_urls=("http://127.0.0.1:9/",))
    schedule = world.schedule("odd")
    monitor = world.settled()
    with world.database.begin() as connection:
        why = "cadence: expected a kind, got 7"
        schedule_store.set_aside(connection, schedule, why, now=world.now)
    set_aside_at = world.now
    for _ in range(3):
        world.clock.tick(2)
        world.sweep(monitor)
    (one,) = found(world)
    assert (one.kind, one.state, one.bad_since) == ("missed", "open", set_aside_at)
    assert one.happened == "it cannot be planned: cadence: expected a kind, got 7"
    world.change_schedule(schedule, state="active", error=None)
    world.clock.tick(2)
    world.sweep(monitor)
    assert [row.state for row in found(world)] == ["closed"]
    told = ["[Metronome] odd was missed", "[Metronome] Good again: odd was missed"]
    assert titles(world) == told


def test_one_that_is_removed_meanwhile_is_no_trouble(world: Any) -> None:
    schedule = world.schedule("odd")
    monitor = world.settled()
    world.change_schedule(schedule, state="broken", error="odd", error_at=world.now)
    world.sweep(monitor)
    world.change_schedule(schedule, state="retired")
    world.sweep(monitor)
    assert [row.close_reason for row in found(world)] == ["retired"]
