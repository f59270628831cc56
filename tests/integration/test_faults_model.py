"""The store's laws over any sequence of actions, on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from store_machine import StoreMachine

from flask_metronome import schema
from flask_metronome.database import Database
from flask_metronome.testing import SettableClock


@pytest.fixture
def machine(database_url: str) -> Iterator[type[StoreMachine]]:
    class OnPostgres(StoreMachine):
        clock = SettableClock()
        database = Database(database_url, clock=clock)

    schema.init_db(OnPostgres.database)
    yield OnPostgres
    OnPostgres.database.dispose()


def test_no_due_time_is_lost_doubled_or_early_on_postgresql(
    machine: type[StoreMachine],
) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=15,
            stateful_step_count=25,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
