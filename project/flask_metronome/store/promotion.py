"""Runs that wait their turn: behind a predecessor, or in a backfill's line."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, func, select, update

from flask_metronome.core.run import RunState
from flask_metronome.models import runs

#: Origins of backfills begin so; their runs wait by rate and number in flight.
BACKFILL = "backfill:"
#: Under this name in a run's options: how many of its backfill may be in flight.
IN_FLIGHT = "backfill_in_flight"

_ACTIVE = ("planned", "published", "received", "started", "retrying")


def promote_waiting(connection: Connection, now: datetime) -> None:
    """Let those go whose turn it is: they become ``planned``."""
    _promote_successors(connection, now)
    _promote_backfills(connection, now)


def _promote_successors(connection: Connection, now: datetime) -> None:
    """The oldest waiting run of each concurrency key that is free."""
    waiting, ahead = runs.alias("waiting"), runs.alias("ahead")
    busy = (
        select(ahead.c.id)
        .where(
            ahead.c.concurrency_key == waiting.c.concurrency_key,
            ahead.c.state.in_(_ACTIVE),
        )
        .exists()
    )
    rows = connection.execute(
        _turn_of(waiting)
        .where(~waiting.c.origin.startswith(BACKFILL), ~busy)
        .with_for_update(skip_locked=True)
    ).all()
    first: dict[str, Any] = {}
    for row in rows:
        first.setdefault(row.concurrency_key, row)
    _let_go(connection, first.values(), now)


def _promote_backfills(connection: Connection, now: datetime) -> None:
    """Of each backfill as many as its bound leaves room for, at its rate."""
    rows = connection.execute(
        _turn_of(runs)
        .where(runs.c.origin.startswith(BACKFILL), runs.c.publish_after <= now)
        .with_for_update(skip_locked=True)
    ).all()
    if not rows:
        return
    lines: dict[tuple[str, str], list[Any]] = defaultdict(list)
    for row in rows:
        lines[row.schedule_id, row.origin].append(row)
    flying = _in_flight(connection, {origin for _, origin in lines})
    for line, waiting in lines.items():
        room = waiting[0].options.get(IN_FLIGHT, 1) - flying.get(line, 0)
        _let_go(connection, waiting[: max(room, 0)], now)


def _in_flight(
    connection: Connection, origins: Iterable[str]
) -> dict[tuple[str, str], int]:
    found = connection.execute(
        select(runs.c.schedule_id, runs.c.origin, func.count())
        .where(runs.c.origin.in_(list(origins)), runs.c.state.in_(_ACTIVE))
        .group_by(runs.c.schedule_id, runs.c.origin)
    )
    return {(schedule, origin): count for schedule, origin, count in found}


def _turn_of(table: Any) -> Any:
    columns = (
        "id",
        "schedule_id",
        "origin",
        "concurrency_key",
        "fires_at",
        "grace_until",
        "options",
    )
    return (
        select(*(table.c[name] for name in columns))
        .where(table.c.state == RunState.WAITING)
        .order_by(table.c.due_at)
    )


def _let_go(connection: Connection, rows: Iterable[Row[Any]], now: datetime) -> None:
    for row in rows:
        connection.execute(
            update(runs)
            .where(runs.c.id == row.id, runs.c.state == RunState.WAITING)
            .values(
                state=RunState.PLANNED,
                publish_after=now,
                # whoever published it before may no more speak for it
                publish_owner=None,
                publish_until=None,
                # it waited on purpose: its grace begins when it may go
                grace_until=now + (row.grace_until - row.fires_at),
                updated_at=now,
            )
        )
