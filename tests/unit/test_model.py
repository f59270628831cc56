"""The store's laws over any sequence of ticks, crashes, edits and deliveries."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from sqlalchemy import select, update
from store_machine import StoreMachine

from flask_metronome import Definition, every, schema
from flask_metronome.database import Database
from flask_metronome.models import runs
from flask_metronome.store import outbox
from flask_metronome.store import schedules as schedule_store
from flask_metronome.store.promotion import promote_waiting
from flask_metronome.store.ticks import tick
from flask_metronome.testing import SettableClock


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[type[StoreMachine]]:
    class OnSqlite(StoreMachine):
        clock = SettableClock()
        database = Database(f"sqlite:///{tmp_path / 'm.sqlite'}", clock=clock)

    schema.init_db(OnSqlite.database)
    yield OnSqlite
    OnSqlite.database.dispose()


def test_no_due_time_is_lost_doubled_or_early_whatever_happens(
    machine: type[StoreMachine],
) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=25,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_an_outcome_recorded_late_leaves_a_run_that_was_put_back_in_the_outbox(
    machine: type[StoreMachine],
) -> None:
    """Its message was used up meanwhile: marked published, it would never run."""
    database, clock = machine.database, machine.clock

    def do(work: Callable[..., Any], **fields: Any) -> Any:
        with database.begin() as connection:
            return work(connection, now=clock.moment, **fields)

    definition = Definition(key="k", task="t", cadence=every(10, "seconds"))
    do(schedule_store.add, definition=definition, owner="api", who="t")
    clock.tick(10)
    (row,) = do(tick, batch=1, owner="a", lease_seconds=30.0).outbox
    with database.begin() as connection:
        # a worker had it, was held up by another run, and its turn came again
        connection.execute(update(runs).values(state="waiting"))
    do(promote_waiting)
    do(outbox.record_published, ids=[row.id], owner="a")
    again = do(outbox.claim, owner="b", lease_seconds=30.0, limit=10)
    assert [found.id for found in again] == [row.id]


def test_an_edit_decides_what_was_due_before_it(machine: type[StoreMachine]) -> None:
    """On time it runs, as it was said then; what was missed is on record, no more."""
    database, clock = machine.database, machine.clock
    old = Definition(key="e", task="t", cadence=every(10, "minutes"), lane="old")
    new = Definition(key="e", task="t", cadence=every(1, "hours"), lane="new")
    with database.begin() as connection:
        schedule_store.add(connection, old, owner="api", who="t", now=clock.moment)
        clock.tick(1800.05)
        schedule_store.replace_definition(
            connection, "e", new, who="t", now=clock.moment
        )
        found = connection.execute(select(runs).order_by(runs.c.due_at)).all()
    assert [(run.state, run.reason, run.missed_count, run.lane) for run in found] == [
        ("missed", "scheduler_down", 2, "old"),
        ("planned", None, 0, "old"),
    ]
