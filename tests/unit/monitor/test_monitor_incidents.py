"""Incidents as the monitor's sweeps open, group, damp, mute and close them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from flask_metronome.models import incidents, messages
from flask_metronome.monitor import Monitor
from flask_metronome.store import incidents as incident_store
from flask_metronome.store.telling import Telling

QUIET = Telling()


@pytest.fixture
def told(world: Any) -> Any:
    """A world with one channel; nothing is ever sent."""
    world.settings = replace(
        world.settings, webhook_urls=("http://127.0.0.1:9/",), events=True
    )
    return world


def found(world: Any, **wanted: Any) -> list[Any]:
    statement = select(incidents).order_by(incidents.c.opened_at, incidents.c.id)
    for name, value in wanted.items():
        statement = statement.where(incidents.c[name] == value)
    with world.database.read() as connection:
        return list(connection.execute(statement))


def said(world: Any, kind: str = "notice") -> list[str]:
    statement = (
        select(messages.c.type)
        .where(messages.c.kind == kind)
        .order_by(messages.c.created_at, messages.c.type)
    )
    with world.database.read() as connection:
        return [name.partition(".")[2] for name in connection.scalars(statement)]


def end(world: Any, schedule: str, state: str, **values: Any) -> str:
    """One run of a schedule that ends now."""
    world.clock.tick(1)
    values.setdefault("reason", "scheduler_down" if state == "missed" else None)
    run: str = world.run(
        schedule, state, finished_at=world.now, missed=state == "missed", **values
    )
    return run


def after(world: Any, monitor: Monitor, schedule: str, *states: str) -> None:
    """Runs that end one by one, each with a sweep."""
    for state in states:
        end(world, schedule, state)
        world.sweep(monitor)


@pytest.mark.parametrize(("bad", "opened"), [(2, 0), (3, 1)])
def test_opens_at_its_threshold_and_not_before(
    world: Any, bad: int, opened: int
) -> None:
    schedule = world.schedule(bad_in_a_row=3)
    monitor = world.settled()
    after(world, monitor, schedule, *["failed"] * bad)
    assert len(found(world)) == opened
    world.sweep(monitor)
    world.sweep(world.monitor())
    assert len(found(world)) == opened


@pytest.mark.parametrize(("good", "state"), [(1, "open"), (2, "closed")])
def test_closes_at_its_threshold_and_not_before(
    world: Any, good: int, state: str
) -> None:
    schedule = world.schedule(good_to_close=2)
    monitor = world.settled()
    after(world, monitor, schedule, "succeeded", "failed", *["succeeded"] * good)
    (one,) = found(world)
    assert one.state == state
    assert (one.closed_at is not None) == (state == "closed")


def test_it_says_what_was_due_what_happened_and_since_when(world: Any) -> None:
    schedule = world.schedule(lane="mail")
    monitor = world.settled()
    good = end(world, schedule, "succeeded")
    world.sweep(monitor)
    good_at = world.now
    first = end(world, schedule, "failed", error_type="ValueError", error="no paper")
    first_at = world.now
    world.sweep(monitor)
    last = end(world, schedule, "timed_out", error="too slow")
    world.sweep(monitor)
    (one,) = found(world)
    assert (one.kind, one.schedule_key, one.lane) == ("failed", "tick", "mail")
    assert (one.first_run, one.last_run, one.bad_count) == (first, last, 2)
    assert (one.bad_since, one.last_due_at) == (first_at, world.now)
    assert (one.last_good_at, one.last_good_run) == (good_at, good)
    assert one.happened == "timed out: too slow"


def test_a_retry_is_not_a_failure(world: Any) -> None:
    schedule = world.schedule()
    monitor = world.settled()
    world.run(schedule, "retrying", retries=2, started_at=world.now)
    world.sweep(monitor)
    assert found(world) == []


def test_missed_while_every_beat_is_dead_and_good_again(told: Any) -> None:
    key = told.schedule(next_due_at=told.now, miss_after_at=told.ago(-30))
    monitor = told.settled()
    (one,) = found(told)
    assert (one.kind, one.cause, one.state) == ("missed", "scheduler_down", "open")
    told.wait(monitor, 60)
    (one,) = found(told)
    assert one.bad_count >= 2
    # a beat returns: the span is decided, and one run is caught up
    told.change_schedule(
        key,
        next_due_at=told.ago(-60),
        miss_after_at=told.ago(-90),
        last_due_at=told.now,
    )
    (row,) = told.rows()
    told.change_run(row.id, provisional=False, reason="policy")
    told.sweep(monitor)
    assert found(told)[0].state == "open"
    after(told, monitor, key, "succeeded")
    (one,) = found(told)
    assert (one.state, one.close_reason) == ("closed", "good")
    assert said(told) == ["opened", "closed"]


def test_missed_with_the_broker_away_closes_only_with_a_good_run(world: Any) -> None:
    schedule = world.schedule(next_due_at=world.ago(-9000))
    monitor = world.settled()
    after(world, monitor, schedule, "succeeded")
    world.clock.tick(1)
    tried = {"publish_after": world.now, "publish_error": "refused"}
    run = world.run(schedule, "planned", **tried)
    world.wait(monitor, 31)
    (one,) = found(world)
    assert (one.kind, one.cause) == ("missed", "publish_failed")
    world.change_run(run, state="started", started_at=world.now)
    world.sweep(monitor)
    assert found(world)[0].state == "open"
    world.change_run(run, state="succeeded", finished_at=world.now)
    world.sweep(monitor)
    assert found(world)[0].state == "closed"


@pytest.mark.parametrize(("schedules", "groups"), [(4, 0), (5, 1)])
def test_many_for_one_reason_are_one(told: Any, schedules: int, groups: int) -> None:
    keys = [told.schedule(f"s{number}") for number in range(schedules)]
    monitor = told.settled()
    after(told, monitor, keys[0], "succeeded")
    good_at = told.now
    for key in keys:
        end(told, key, "missed")
    told.sweep(monitor)
    assert len(found(told, kind="system")) == groups
    told.wait(monitor, 45)
    parts = found(told, kind="missed")
    if not groups:
        assert said(told) == ["opened"] * 4
        return
    (group,) = found(told, kind="system")
    assert {part.part_of for part in parts} == {group.id}
    assert (group.cause, group.bad_count) == ("scheduler_down", 5)
    assert group.last_good_at == good_at
    assert said(told) == ["opened"]
    late = told.schedule("late")
    after(told, monitor, late, "missed")
    assert found(told, schedule_key="late")[0].part_of == group.id
    for key in (*keys, late):
        end(told, key, "succeeded")
    told.sweep(monitor)
    assert {row.state for row in found(told)} == {"closed"}
    assert said(told) == ["opened", "closed"]


@pytest.mark.parametrize(("pause", "groups"), [(10, 1), (20, 0)])
def test_only_those_within_a_minute_are_one(told: Any, pause: int, groups: int) -> None:
    keys = [told.schedule(f"s{number}") for number in range(5)]
    monitor = told.settled()
    for key in keys:
        after(told, monitor, key, "missed")
        told.clock.tick(pause)
    assert len(found(told, kind="system")) == groups


def test_failures_are_each_ones_own(told: Any) -> None:
    keys = [told.schedule(f"s{number}") for number in range(6)]
    monitor = told.settled()
    for key in keys:
        end(told, key, "failed")
    told.sweep(monitor)
    assert len(found(told, kind="failed")) == 6
    assert said(told) == ["opened"] * 6


def test_up_and_down_is_told_once_and_closes_after_a_quiet_hour(told: Any) -> None:
    schedule = told.schedule()
    monitor = told.settled()
    turns = ["failed", "succeeded", "failed", "succeeded"]
    after(told, monitor, schedule, *turns, "failed", "succeeded", "failed")
    first, second = found(told)
    assert (first.state, second.state) == ("closed", "open")
    assert second.damped_at is not None
    assert said(told) == ["opened", "closed", "opened", "flapping"]
    after(told, monitor, schedule, "succeeded")
    told.wait(monitor, 3590)
    assert found(told)[1].state == "open"
    told.wait(monitor, 20)
    assert found(told)[1].state == "closed"
    assert said(told)[-1] == "closed"


def test_acknowledged_is_not_reminded_of(told: Any) -> None:
    one, other = told.schedule("one"), told.schedule("other")
    monitor = told.settled()
    end(told, one, "failed")
    end(told, other, "failed")
    told.sweep(monitor)
    (row,) = found(told, schedule_key="one")
    with told.database.begin() as connection:
        incident_store.acknowledge(
            connection, row.id, note="mine", who="me", now=told.now, telling=QUIET
        )
    told.clock.tick(86_390)
    told.sweep(monitor)
    assert said(told) == ["opened", "opened"]
    told.clock.tick(20)
    told.sweep(monitor)
    assert said(told) == ["opened", "opened", "reminder"]
    (row,) = found(told, schedule_key="one")
    assert (row.state, row.note, row.acknowledged_by) == ("acknowledged", "mine", "me")
    after(told, monitor, one, "succeeded")
    assert found(told, schedule_key="one")[0].state == "closed"


def test_closed_by_hand_stays_closed_until_the_next_bad_run(told: Any) -> None:
    schedule = told.schedule()
    monitor = told.settled()
    after(told, monitor, schedule, "failed")
    (row,) = found(told)
    with told.database.begin() as connection:
        incident_store.close_by_hand(
            connection, row.id, note=None, who="me", now=told.now, telling=QUIET
        )
    told.wait(monitor, 60)
    assert [row.state for row in found(told)] == ["closed"]
    after(told, monitor, schedule, "failed")
    assert [row.state for row in found(told)] == ["closed", "open"]


def test_a_paused_schedule_has_no_incident(told: Any) -> None:
    schedule = told.schedule()
    monitor = told.settled()
    after(told, monitor, schedule, "failed")
    told.change_schedule(schedule, state="paused")
    told.sweep(monitor)
    (row,) = found(told)
    assert (row.state, row.close_reason) == ("closed", "paused")
    with told.database.read() as connection:
        closed = messages.c.type == "incident.closed"
        (body,) = connection.scalars(
            select(messages.c.body).where(closed, messages.c.kind == "notice")
        )
    # nothing is good again
    assert body["data"]["title"] == "[Metronome] Closed: tick failed"
    assert "because the schedule was paused" in body["data"]["text"]


def test_blocked_and_stuck(world: Any) -> None:
    schedule = world.schedule()
    monitor = world.settled()
    running = world.run(schedule, "started", started_at=world.now)
    for _ in range(3):
        assert found(world, kind="blocked") == []
        end(world, schedule, "skipped", reason="overlap")
        world.sweep(monitor)
    assert found(world, kind="blocked")[0].bad_count == 3
    world.change_run(running, overrun=True, stuck=True)
    world.sweep(monitor)
    assert found(world, kind="stuck")[0].last_run == running
    world.change_run(running, state="succeeded", finished_at=world.now)
    world.sweep(monitor)
    assert {row.state for row in found(world)} == {"closed"}


def test_a_lane_without_workers_is_one_incident(told: Any) -> None:
    schedule = told.schedule(lane="mail")
    monitor = told.settled()
    for number in range(3):
        told.run(
            schedule,
            "published",
            lane="mail",
            due_at=told.now + timedelta(seconds=number),
            published_at=told.now,
        )
    told.wait(monitor, 60)
    assert found(told) == []
    told.wait(monitor, 5)
    (row,) = found(told)
    assert (row.kind, row.cause, row.schedule_key) == ("system", "lane:mail", None)
    told.clock.tick(1)
    told.worker(lanes=["mail"])
    told.sweep(monitor)
    assert found(told)[0].state == "closed"
    assert said(told) == ["opened", "closed"]


def test_a_lane_that_is_served_waits_without_an_incident(world: Any) -> None:
    schedule = world.schedule()
    worker = world.worker()
    monitor = world.settled()
    world.run(schedule, "published", published_at=world.now)
    for _ in range(10):
        world.heartbeat(worker, ["something else"])
        world.wait(monitor, 15)
    assert found(world) == []


def test_events_tell_of_runs_and_incidents_once(told: Any) -> None:
    schedule = told.schedule(lane="mail", next_due_at=told.ago(-9000))
    monitor = told.settled()
    run = told.run(schedule, "planned", lane="mail", publish_after=told.now)
    told.wait(monitor, 45)
    assert sorted(said(told, "event")) == ["missed", "opened"]
    told.change_run(run, state="succeeded", started_at=told.now, finished_at=told.now)
    told.sweep(monitor)
    told.sweep(monitor)
    events = said(told, "event")
    assert sorted(events) == ["closed", "missed", "opened", "succeeded"]
    with told.database.read() as connection:
        keys = set(
            connection.scalars(
                select(messages.c.destination).where(messages.c.kind == "event")
            )
        )
    assert keys == {
        "run.missed.mail.tick",
        "run.succeeded.mail.tick",
        "incident.opened.missed.tick",
        "incident.closed.missed.tick",
    }


def test_without_events_none_are_written(world: Any) -> None:
    schedule = world.schedule()
    monitor = world.settled()
    after(world, monitor, schedule, "failed", "succeeded")
    assert said(world, "event") == []
    assert said(world) == []


def test_what_is_long_over_is_forgotten(world: Any) -> None:
    schedule, other = world.schedule(), world.schedule("other")
    monitor = world.settled()
    after(world, monitor, schedule, "failed", "succeeded")
    after(world, monitor, other, "failed")
    world.clock.tick(89 * 86_400)
    world.sweep(monitor)
    assert len(found(world)) == 2
    world.clock.tick(2 * 86_400)
    world.sweep(monitor)
    assert [row.schedule_key for row in found(world)] == ["other"]


def test_an_hour_of_healthy_runs_opens_nothing(told: Any) -> None:
    """Retries, late starts, skips and a cancelled one among them."""
    keys = [told.schedule(f"s{number}") for number in range(4)]
    monitor = told.settled()
    for minute in range(60):
        for number, key in enumerate(keys):
            end(told, key, "succeeded", retries=minute % 3, late=number == 1)
        if minute % 10 == 0:
            end(told, keys[0], "skipped", reason="overlap")
            end(told, keys[1], "cancelled", reason="operator")
        if minute == 30:
            monitor = told.monitor()
        told.clock.tick(50)
        told.sweep(monitor)
    assert found(told) == []
    assert said(told) == []
