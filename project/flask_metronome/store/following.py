"""Schedules that follow another's runs: one run for each end that they wait for.

The run's origin is ``event:<run id>`` and it is due when that run ended, so it
is made once, however often it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select, update

from flask_metronome.core.after import After
from flask_metronome.core.plan import Occupancy, Plan, plan_event
from flask_metronome.core.schedule import Schedule
from flask_metronome.models import schedules
from flask_metronome.store import decisions
from flask_metronome.store import schedules as schedule_store
from flask_metronome.store.run_rows import planned_row
from flask_metronome.store.schedule_rows import load


def follow(
    connection: Connection, ended: Sequence[Mapping[str, Any]], now: datetime
) -> int:
    """Plan what follows from runs that have just ended; how many decisions."""
    waiting = _waiting(connection, {run["schedule_key"] for run in ended}, now)
    if not waiting:
        return 0
    occupied = decisions.occupancy(connection, waiting)
    plans: list[tuple[Schedule, Plan]] = []
    for schedule in waiting:
        there = occupied.setdefault(schedule.concurrency_key, Occupancy())
        try:
            plans += _plans(schedule, ended, there)
        except Exception as error:
            # one that nobody can plan must not hold up the judging of others
            schedule_store.set_aside(connection, schedule.id, str(error), now=now)
    rows = [planned_row(s, run, now) for s, decided in plans for run in decided.runs]
    decisions.record(connection, plans, rows, now=now)
    for schedule, decided in plans:
        _advance(connection, schedule, decided)
    return len(rows)


def _waiting(
    connection: Connection, keys: Iterable[str], now: datetime
) -> list[Schedule]:
    """The active schedules that follow one of these."""
    rows = connection.execute(
        select(schedules)
        .where(schedules.c.after_key.in_(list(keys)), schedules.c.state == "active")
        .order_by(schedules.c.id)
        .with_for_update()
    ).all()
    found = []
    for row in rows:
        try:
            found.append(load(row))
        except Exception as error:
            schedule_store.set_aside(connection, row.id, str(error), now=now)
    return found


def _plans(
    schedule: Schedule, ended: Iterable[Mapping[str, Any]], there: Occupancy
) -> list[tuple[Schedule, Plan]]:
    plans = []
    for run in sorted(ended, key=lambda run: (run["finished_at"], run["id"])):
        if not _is_awaited(schedule, run):
            continue
        decided = plan_event(schedule, f"event:{run['id']}", run["finished_at"], there)
        plans.append((schedule, decided))
        schedule = replace(
            schedule, runs_made=decided.runs_made, last_due_at=decided.last_due_at
        )
    return plans


def _is_awaited(schedule: Schedule, run: Mapping[str, Any]) -> bool:
    cadence, definition = schedule.definition.cadence, schedule.definition
    if not isinstance(cadence, After):
        return False
    at = run["finished_at"]
    if (run["schedule_key"], run["state"]) != (cadence.schedule, cadence.state):
        return False
    since = max(filter(None, (schedule.created_at, definition.start_at)), default=at)
    return bool(since <= at <= (definition.end_at or at))


def _advance(connection: Connection, schedule: Schedule, decided: Plan) -> None:
    connection.execute(
        update(schedules)
        .where(schedules.c.id == schedule.id)
        .values(
            last_due_at=decided.last_due_at,
            runs_made=decided.runs_made,
            state="finished" if decided.finished else "active",
        )
    )
