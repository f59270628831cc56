"""The store's laws over any sequence of ticks, crashes, edits and deliveries."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from store_machine import StoreMachine

from flask_metronome import schema
from flask_metronome.database import Database
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
            max_examples=60,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
