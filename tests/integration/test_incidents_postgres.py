"""Incidents, mutes and followers on a real PostgreSQL with our migrations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from flask_metronome import Definition, after, every, schema
from flask_metronome.core.run import AUTO, run_id
from flask_metronome.database import Database
from flask_metronome.models import incidents, messages, runs, schedules
from flask_metronome.monitor import Monitor
from flask_metronome.settings import Settings, read_settings
from flask_metronome.store import mutes
from flask_metronome.store import schedules as schedule_store
from flask_metronome.store.run_rows import base_row
from flask_metronome.store.ticks import tick
from flask_metronome.testing import SettableClock


class Site:
    """A database with a settable clock, and its monitor."""

    def __init__(self, url: str, settings: Settings) -> None:
        self.clock = SettableClock()
        self.database = Database(url, clock=self.clock)
        schema.init_db(self.database)
        self.monitor = Monitor(self.database, settings)

    def add(self, key: str, cadence: Any = None, **fields: Any) -> Any:
        definition = Definition(
            key=key, task="shop.tick", cadence=cadence or every(1, "days"), **fields
        )
        with self.database.begin() as connection:
            return schedule_store.add(
                connection, definition, owner="api", who="me", now=self.clock.moment
            )

    def end(self, schedule: Any, state: str, reason: str | None = None) -> str:
        self.clock.tick(1)
        now = self.clock.moment
        found = run_id(schedule.id, AUTO, now)
        row = base_row(schedule, due_at=now, now=now)
        row |= {"id": found, "origin": AUTO, "state": state, "reason": reason}
        row |= {"finished_at": now, "missed": state == "missed"}
        with self.database.begin() as connection:
            connection.execute(insert(runs).values(row))
        return found

    def sweep(self) -> None:
        self.clock.tick(1)
        assert self.monitor.sweep().failed == ()

    def rows(self, table: Any, *order: Any) -> list[Any]:
        with self.database.read() as connection:
            return list(connection.execute(select(table).order_by(*order)))


@pytest.fixture
def site(database_url: str, tmp_path: Path) -> Iterator[Site]:
    settings = read_settings({}, instance_path=str(tmp_path), environ={})
    settings = replace(settings, webhook_urls=("http://127.0.0.1:9/",), events=True)
    made = Site(database_url, settings)
    made.sweep()
    yield made
    made.database.dispose()


def test_many_are_one_and_it_closes_with_them(site: Site) -> None:
    found = [site.add(f"s{number}") for number in range(6)]
    for schedule in found:
        site.end(schedule, "missed", "scheduler_down")
    site.sweep()
    rows = site.rows(incidents, incidents.c.kind)
    assert [row.kind for row in rows] == ["missed"] * 6 + ["system"]
    assert {row.part_of for row in rows[:6]} == {rows[6].id}
    assert rows[6].bad_count == 6
    for schedule in found:
        site.end(schedule, "succeeded")
    site.sweep()
    assert {row.state for row in site.rows(incidents)} == {"closed"}
    told = [row.type for row in site.rows(messages, messages.c.created_at)]
    assert told.count("run.missed") == told.count("run.succeeded") == 6
    assert told.count("incident.opened") == 7 + 1
    assert told.count("incident.closed") == 7 + 1


def test_up_and_down_is_damped_and_mutes_hold(site: Site) -> None:
    schedule = site.add("wobbly")
    with site.database.begin() as connection:
        mutes.add(
            connection,
            scope="schedule:wobbly",
            lanes=(),
            from_at=None,
            until_at=None,
            reason=None,
            who="me",
            now=site.clock.moment,
        )
    for state in ("failed", "succeeded", "failed", "succeeded", "failed"):
        site.end(schedule, state)
        site.sweep()
    rows = site.rows(incidents, incidents.c.opened_at)
    assert [row.state for row in rows] == ["closed", "open"]
    assert rows[1].damped_at is not None
    assert {row.muted for row in rows} == {True}
    assert {row.kind for row in site.rows(messages)} == {"event"}


def test_what_is_missed_right_now_opens_one(site: Site) -> None:
    site.add("steady", every(60))
    site.clock.tick(1)
    with site.database.begin() as connection:
        tick(connection, now=site.clock.moment, batch=9, owner="me", lease_seconds=30)
    for _ in range(12):
        site.clock.tick(14)
        site.sweep()
    (row,) = site.rows(incidents)
    assert (row.kind, row.cause) == ("missed", "scheduler_down")
    assert row.bad_count >= 2


def test_a_run_follows_and_a_hand_edit_ends_that(site: Site) -> None:
    source, follower = site.add("import"), site.add("report", after("import"))
    run = site.end(source, "succeeded")
    site.sweep()
    made = [row for row in site.rows(runs) if row.schedule_id == follower.id]
    assert [row.origin for row in made] == [f"event:{run}"]
    cadence = every(60).to_dict()
    with site.database.begin() as connection:
        connection.execute(
            update(schedules)
            .where(schedules.c.id == follower.id)
            .values(cadence=cadence)
        )
    with site.database.begin() as connection:
        now = site.clock.moment + timedelta(seconds=1)
        tick(connection, now=now, batch=9, owner="me", lease_seconds=30)
    (row,) = [r for r in site.rows(schedules) if r.id == follower.id]
    assert (row.after_key, row.state) == (None, "active")
    assert row.next_due_at > now
