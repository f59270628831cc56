"""Blocked means: by a run that goes on or waits its turn, and by nothing else."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from flask_metronome.core.after import after
from flask_metronome.models import incidents, messages
from flask_metronome.monitor import Monitor

_WAITS = "the run before waits for a worker"
_GOES_ON = "the run before was still going"


def left_out(world: Any, monitor: Monitor, schedule: str, times: int = 4) -> None:
    for _ in range(times):
        world.clock.tick(1)
        world.run(schedule, "skipped", reason="overlap", finished_at=world.now)
        world.sweep(monitor)


def found(world: Any, **wanted: Any) -> list[Any]:
    statement = select(incidents).order_by(incidents.c.opened_at)
    with world.database.read() as connection:
        rows = connection.execute(statement)
        return [r for r in rows if all(getattr(r, k) == v for k, v in wanted.items())]


@pytest.mark.parametrize(
    ("state", "served", "attempts", "happened"),
    [
        ("started", False, 1, _GOES_ON),
        ("retrying", False, 1, _GOES_ON),
        # it is begun again by its policy
        ("planned", False, 1, _GOES_ON),
        ("published", True, 0, _WAITS),
        ("received", True, 0, _WAITS),
        # the lane's trouble
        ("published", False, 0, None),
        # missed, once its grace is over
        ("planned", True, 0, None),
    ],
)
def test_what_stands_in_the_way(
    world: Any, state: str, served: bool, attempts: int, happened: str | None
) -> None:
    schedule = world.schedule()
    monitor = world.settled()
    world.run(schedule, state, attempts=attempts, due_at=world.ago(1))
    if served:
        world.worker()
    left_out(world, monitor, schedule)
    assert [row.happened for row in found(world, kind="blocked")] == (
        [happened] if happened else []
    )


def test_a_burst_of_events_at_once_is_not_blocked(world: Any) -> None:
    source = world.schedule("import")
    follows = after("import")
    follower = world.schedule(
        "report", cadence=follows.to_dict(), after_key="import", overlap="skip"
    )
    world.worker()
    monitor = world.settled()
    for _ in range(6):
        world.clock.tick(1)
        world.run(source, "succeeded", finished_at=world.now)
    world.sweep(monitor)
    (run,) = [
        r for r in world.rows() if (r.schedule_id, r.state) == (follower, "planned")
    ]
    world.change_run(run.id, state="started", attempts=1, started_at=world.now)
    world.clock.tick(2)
    world.sweep(monitor)
    assert sum(row.state == "skipped" for row in world.rows()) == 5
    assert found(world) == []


def test_one_that_has_ended_since_was_still_going(world: Any) -> None:
    schedule = world.schedule()
    monitor = world.settled()
    left_out(world, monitor, schedule, times=3)
    assert [row.happened for row in found(world)] == [_GOES_ON]


def test_it_is_another_schedules_run_under_a_common_key(world: Any) -> None:
    one, other = world.schedule("one"), world.schedule("other")
    monitor = world.settled()
    world.run(other, "started", concurrency_key="both", started_at=world.now)
    for _ in range(3):
        world.clock.tick(1)
        skipped = {"reason": "overlap", "finished_at": world.now}
        world.run(one, "skipped", concurrency_key="both", **skipped)
        world.sweep(monitor)
    assert [row.schedule_key for row in found(world, kind="blocked")] == ["one"]


def test_a_lane_without_workers_is_one_incident_that_names_who_waits(
    world: Any,
) -> None:
    world.settings = replace(world.settings, webhook_urls=("http://127.0.0.1:9/",))
    keys = [world.schedule(f"s{number}", lane="mail") for number in range(6)]
    monitor = world.settled()
    for key in keys:
        world.clock.tick(1)
        world.run(key, "succeeded", finished_at=world.now)
        world.sweep(monitor)
        good_at = world.now
    world.clock.tick(1)
    for key in keys:
        world.run(key, "published", lane="mail", published_at=world.now)
    for _ in range(30):
        for key in keys:
            left_out(world, monitor, key, times=1)
    (row,) = found(world)
    assert (row.cause, row.bad_count) == ("lane:mail", 6)
    assert row.happened == "6 of its runs wait, and no worker takes them"
    assert row.last_good_at == good_at
    with world.database.read() as connection:
        (body,) = connection.scalars(select(messages.c.body))
    world.run(world.schedule("s6"), "published", lane="mail", late=True)
    world.wait(monitor, 75)
    (row,) = found(world)
    assert (row.happened[:1], row.bad_count) == ("7", 7)
    assert "lane mail (6 schedules)" in body["data"]["title"]
    assert "Schedules: s0, s1, s2, s3, s4, s5" in body["data"]["text"]
    assert "in a row" not in body["data"]["text"]
    assert body["data"]["schedules"] == [f"s{number}" for number in range(6)]


@pytest.mark.parametrize(("lies", "opened"), [(60, 0), (61, 1)])
def test_what_was_due_long_ago_waits_from_its_publish_on(
    world: Any, lies: int, opened: int
) -> None:
    schedule = world.schedule(lane="mail")
    monitor = world.settled()
    long_ago = world.now - timedelta(hours=1)
    late = {"late": True, "catchup": True, "published_at": world.now}
    world.run(schedule, "published", lane="mail", due_at=long_ago, **late)
    world.sweep(monitor)
    assert found(world) == []
    world.wait(monitor, lies)
    assert len(found(world)) == opened
