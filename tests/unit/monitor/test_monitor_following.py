"""Schedules that follow another's runs: one run for each end, and no second."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from flask_metronome.core.cadence import after, cadence_from_dict, cron
from flask_metronome.core.run import run_id
from flask_metronome.core.schedule import Definition
from flask_metronome.errors import CadenceInvalid, ScheduleInvalid
from flask_metronome.models import schedules
from flask_metronome.store import schedules as schedule_store
from flask_metronome.store.ticks import tick

_T = datetime(2026, 1, 1, tzinfo=UTC)


def add(world: Any, key: str, cadence: Any, **fields: Any) -> str:
    definition = Definition(key=key, task="shop.tick", cadence=cadence, **fields)
    with world.database.begin() as connection:
        added = schedule_store.add(
            connection, definition, owner="api", who="me", now=world.now
        )
    return added.id


def end(world: Any, schedule: str, state: str, **values: Any) -> str:
    world.clock.tick(1)
    run: str = world.run(schedule, state, finished_at=world.now, **values)
    return run


def made(world: Any, schedule: str) -> list[Any]:
    return [row for row in world.rows() if row.schedule_id == schedule]


def row_of(world: Any, schedule: str) -> Any:
    with world.database.read() as connection:
        return connection.execute(
            select(schedules).where(schedules.c.id == schedule)
        ).one()


def test_a_run_follows_each_success_once(world: Any) -> None:
    source = world.schedule("import")
    follower = add(world, "report", after("import"), lane="reports")
    monitor = world.settled()
    first = end(world, source, "succeeded")
    first_at = world.now
    world.sweep(monitor)
    world.sweep(monitor)
    (run,) = made(world, follower)
    assert (run.state, run.origin, run.lane) == ("planned", f"event:{first}", "reports")
    assert (run.due_at, run.publish_after) == (first_at, first_at)
    assert run.id == run_id(follower, f"event:{first}", first_at)
    assert row_of(world, follower).last_due_at == first_at
    world.change_run(run.id, state="succeeded", finished_at=world.now)
    end(world, source, "succeeded")
    world.sweep(monitor)
    assert len(made(world, follower)) == 2


@pytest.mark.parametrize("state", ["failed", "cancelled", "timed_out"])
def test_other_ends_are_not_followed(world: Any, state: str) -> None:
    source = world.schedule("import")
    other = world.schedule("other")
    follower = add(world, "report", after("import"))
    alarmed = add(world, "alarm", after("import", state=state))
    monitor = world.settled()
    end(world, source, state)
    end(world, other, "succeeded")
    world.sweep(monitor)
    assert made(world, follower) == []
    assert len(made(world, alarmed)) == 1


def test_overlap_max_runs_and_window_hold(world: Any) -> None:
    source = world.schedule("import")
    skipping = add(world, "skipping", after("import"))
    counted = add(world, "counted", after("import"), max_runs=2, overlap="allow")
    later = add(world, "later", after("import"), start_at=world.ago(-9000))
    monitor = world.settled()
    for _ in range(3):
        end(world, source, "succeeded")
    world.sweep(monitor)
    assert [run.state for run in made(world, skipping)] == [
        "planned",
        "skipped",
        "skipped",
    ]
    assert len(made(world, counted)) == 2
    assert row_of(world, counted).state == "finished"
    assert made(world, later) == []


def test_one_that_cannot_be_read_does_not_hold_up_the_others(world: Any) -> None:
    source = world.schedule("import")
    broken = add(world, "broken", after("import"))
    follower = add(world, "report", after("import"))
    world.change_schedule(broken, overlap="nonsense")
    monitor = world.settled()
    end(world, source, "succeeded")
    world.sweep(monitor)
    assert row_of(world, broken).state == "broken"
    assert len(made(world, follower)) == 1


def test_what_ended_before_it_was_added_is_not_followed(world: Any) -> None:
    source = world.schedule("import")
    end(world, source, "succeeded")
    world.clock.tick(1)
    follower = add(world, "report", after("import"))
    world.settled()
    assert made(world, follower) == []


def test_a_paused_one_does_not_follow(world: Any) -> None:
    source = world.schedule("import")
    follower = add(world, "report", after("import"))
    monitor = world.settled()
    with world.database.begin() as connection:
        schedule_store.pause(connection, "report", reason=None, who="me", now=world.now)
    end(world, source, "succeeded")
    world.sweep(monitor)
    with world.database.begin() as connection:
        schedule_store.resume(connection, "report", who="me", now=world.now)
    assert row_of(world, follower).state == "active"
    end(world, source, "succeeded")
    world.sweep(monitor)
    assert len(made(world, follower)) == 1


def test_ticks_leave_it_active_and_do_not_look_at_it(world: Any) -> None:
    follower = add(world, "report", after("import"))
    with world.database.begin() as connection:
        report = tick(connection, now=world.now, batch=10, owner="me", lease_seconds=30)
    assert report.decided == 0
    assert (row_of(world, follower).state, report.next_due_at) == ("active", None)


def test_a_cadence_that_becomes_one_by_hand_is_taken_in(world: Any) -> None:
    schedule = world.schedule("report", cadence=after("import").to_dict())
    with world.database.begin() as connection:
        tick(connection, now=world.now, batch=10, owner="me", lease_seconds=30)
    row = row_of(world, schedule)
    assert (row.state, row.after_key) == ("active", "import")


def test_circles_are_refused(world: Any) -> None:
    with pytest.raises(ScheduleInvalid, match="cadence"):
        add(world, "self", after("self"))
    add(world, "a", after("b"))
    add(world, "b", after("c"))
    with pytest.raises(ScheduleInvalid, match="cadence"):
        add(world, "c", after("a"))
    add(world, "c", cron("0 8 * * *"))
    with world.database.begin() as connection:
        old = schedule_store.get(connection, "c").definition.to_dict()
        changed = Definition.from_dict(old | {"cadence": after("a").to_dict()})
        with pytest.raises(ScheduleInvalid, match="cadence"):
            schedule_store.replace_definition(
                connection, "c", changed, who="me", now=world.now
            )


def test_it_is_written_and_read_and_said() -> None:
    found = after("import", state="timed_out")
    assert cadence_from_dict(found.to_dict()) == found
    assert found.words() == "after import timed out"
    assert cadence_from_dict({"kind": "after", "schedule": "x"}) == after("x")
    assert list(found.between(_T, _T + timedelta(days=9999))) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "after"},
        {"kind": "after", "schedule": ""},
        {"kind": "after", "schedule": 3},
        {"kind": "after", "schedule": "x", "state": "started"},
        {"kind": "after", "schedule": "x", "when": "now"},
    ],
)
def test_nonsense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(CadenceInvalid):
        cadence_from_dict(wrong)
