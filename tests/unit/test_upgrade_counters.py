"""What was counted before an upgrade goes on, on SQLite."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from upgraded_counters import check_last_starts, check_triggers

from flask_metronome import schema
from flask_metronome.database import Database


@pytest.mark.parametrize("check", [check_triggers, check_last_starts])
def test_what_was_counted_goes_up_and_down(
    tmp_path: Path, check: Callable[[Database], None]
) -> None:
    database = Database(f"sqlite:///{tmp_path / 'old.sqlite'}")
    schema.init_db(database)
    check(database)
    database.dispose()
