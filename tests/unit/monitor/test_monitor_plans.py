"""What a sweep costs follows what changed: no statement reads the history over."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, event

from flask_metronome.store.numbers import isolate, read_snapshot

#: The tables that only grow, until what is old is pruned.
_HISTORY = ("runs", "attempts", "results", "incidents", "messages", "audit")


def statements_of(engine: Engine, what: Any) -> dict[str, Any]:
    """What is asked of the database meanwhile, with parameters of each."""
    found: dict[str, Any] = {}

    def note(_c: Any, _cursor: Any, text: str, given: Any, _x: Any, many: bool) -> None:
        found.setdefault(text, given[0] if many else given)

    event.listen(engine, "before_cursor_execute", note)
    what()
    event.remove(engine, "before_cursor_execute", note)
    return found


@pytest.fixture
def busy(world: Any) -> Any:
    """Something for every chore, and an incident that is open."""
    world.settings = replace(
        world.settings, webhook_urls=("http://127.0.0.1:9/",), events=True
    )
    schedule = world.schedule()
    world.schedule("late", next_due_at=world.now, miss_after_at=world.now)
    worker = world.worker()
    for number, state in enumerate(("failed", "succeeded", "published", "planned")):
        due_at = world.now - timedelta(seconds=number)
        world.run(schedule, state, due_at=due_at, finished_at=world.now)
    run = world.run(schedule, "started", due_at=world.ago(9), started_at=world.ago(9))
    world.attempt(run, worker_id=worker)
    world.attempt(run, delivery=2, state="succeeded", ended_at=world.now)
    return world


def test_no_statement_of_a_sweep_or_scrape_reads_a_table_over(busy: Any) -> None:
    monitor = busy.settled()
    with busy.database.begin() as connection:
        engine = connection.engine

    def sweep_and_scrape() -> None:
        for _ in range(3):
            busy.wait(monitor, 15)
        with busy.database.read() as connection:
            seen = isolate(connection)
            read_snapshot(seen, now=busy.now, version="", lease_seconds=30)

    found = statements_of(engine, sweep_and_scrape)
    assert len(found) > 30
    plans = {}
    with engine.connect() as connection:
        for text, given in found.items():
            if text.lstrip().startswith(("SELECT", "UPDATE", "DELETE")):
                rows = connection.exec_driver_sql("EXPLAIN QUERY PLAN " + text, given)
                plans[text] = [row[3] for row in rows]
    scanned = {
        text: step
        for text, steps in plans.items()
        for step in steps
        if step.startswith("SCAN") and any(name in step for name in _HISTORY)
    }
    assert scanned == {}
