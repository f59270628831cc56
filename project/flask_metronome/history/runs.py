"""Reads of runs and attempts. Every list goes along an index, newest first."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, or_, select, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from flask_metronome.core.run import AUTO
from flask_metronome.errors import NotFound
from flask_metronome.history.children import children_of
from flask_metronome.history.cursor import USUAL, mark_of, read_cursor, write_cursor
from flask_metronome.history.values import (
    AttemptView,
    RunDetail,
    RunView,
    Slice,
    names_of,
)
from flask_metronome.models import attempts, runs, schedules

FLAGS = ("late", "missed", "overrun", "stuck", "catchup", "retried")
ORIGINS = ("auto", "manual", "backfill", "event")

_COLUMNS = [
    runs.c.attempts.label(name) if name == "attempt_count" else runs.c[name]
    for name in names_of(RunView)
]
_ATTEMPT_COLUMNS = [attempts.c[name] for name in names_of(AttemptView)]


@dataclass(frozen=True, kw_only=True, slots=True)
class RunFilter:
    """Which runs; several values of one kind mean any of them.

    ``due_after`` is exclusive, ``due_before`` inclusive. ``flags`` must all hold.
    ``origin`` is a whole origin, or ``manual`` or ``backfill`` for all of its kind.
    """

    schedule: str | None = None
    task: str | None = None
    lane: str | None = None
    states: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    origin: str | None = None
    worker: str | None = None
    due_after: datetime | None = None
    due_before: datetime | None = None


async def list_runs(
    connection: AsyncConnection,
    wanted: RunFilter,
    *,
    limit: int = USUAL,
    cursor: str | None = None,
) -> Slice[RunView]:
    """The runs that ``wanted`` names, by due time, newest first.

    :raises InputInvalid: naming ``cursor``, when it is not of this list.
    :raises NotFound: when the schedule it names does not exist.
    """
    mark = mark_of("runs", wanted)
    after = read_cursor(mark, cursor, (datetime, str)) if cursor else None
    conditions = _conditions(wanted)
    if wanted.schedule is not None:
        conditions.append(
            runs.c.schedule_id == await schedule_id(connection, wanted.schedule)
        )
    statement = _statement(conditions, wanted.states, after, limit + 1, wanted)
    found = [RunView(**row) for row in (await connection.execute(statement)).mappings()]
    following = None
    if len(found) > limit:
        last = found[limit - 1]
        following = write_cursor(mark, (last.due_at, last.id))
    return Slice(items=tuple(found[:limit]), next_cursor=following)


async def get_run(connection: AsyncConnection, run_id: str) -> RunView:
    """One run.

    :raises NotFound: when there is none of that id.
    """
    statement = select(*_COLUMNS).where(runs.c.id == run_id)
    row = (await connection.execute(statement)).mappings().one_or_none()
    if row is None:
        raise NotFound("run", run_id)
    return RunView(**row)


async def get_run_detail(connection: AsyncConnection, run_id: str) -> RunDetail:
    """One run with its attempts and the tasks that it started.

    :raises NotFound: when there is none of that id.
    """
    run = await get_run(connection, run_id)
    values = {name: getattr(run, name) for name in names_of(RunView)}
    found = await attempts_of(connection, run_id)
    children = await children_of(connection, run_id)
    return RunDetail(**values, attempts=tuple(found), children=tuple(children))


async def attempts_of(connection: AsyncConnection, run_id: str) -> list[AttemptView]:
    """The attempts of a run, in the order in which they started."""
    statement = (
        select(*_ATTEMPT_COLUMNS)
        .where(attempts.c.run_id == run_id)
        .order_by(attempts.c.started_at, attempts.c.id)
        .limit(1000)
    )
    rows = (await connection.execute(statement)).mappings()
    return [AttemptView(**row) for row in rows]


@dataclass(frozen=True, kw_only=True, slots=True)
class Neighbours:
    """The runs of the same schedule right before and after one, by id."""

    before: str | None
    after: str | None


async def neighbours_of(connection: AsyncConnection, run: RunView) -> Neighbours:
    """What came before and after a run, by due time."""
    same = (
        runs.c.schedule_id
        == select(runs.c.schedule_id).where(runs.c.id == run.id).scalar_subquery()
    )
    tie = runs.c.due_at == run.due_at
    older = or_(runs.c.due_at < run.due_at, and_(tie, runs.c.id < run.id))
    newer = or_(runs.c.due_at > run.due_at, and_(tie, runs.c.id > run.id))
    # the first half of each is what the index can begin at
    before = (
        select(runs.c.id)
        .where(same, runs.c.due_at <= run.due_at, older)
        .order_by(runs.c.due_at.desc(), runs.c.id.desc())
        .limit(1)
    )
    after = (
        select(runs.c.id)
        .where(same, runs.c.due_at >= run.due_at, newer)
        .order_by(runs.c.due_at, runs.c.id)
        .limit(1)
    )
    return Neighbours(
        before=(await connection.execute(before)).scalar_one_or_none(),
        after=(await connection.execute(after)).scalar_one_or_none(),
    )


async def schedule_id(connection: AsyncConnection, key: str) -> str:
    """The id behind a key.

    :raises NotFound: when there is no schedule of that key.
    """
    statement = select(schedules.c.id).where(schedules.c.key == key)
    found = (await connection.execute(statement)).scalar_one_or_none()
    if found is None:
        raise NotFound("schedule", key)
    return str(found)


def _statement(
    conditions: list[ColumnElement[bool]],
    states: tuple[str, ...],
    after: tuple[Any, ...] | None,
    limit: int,
    wanted: RunFilter,
) -> Select[Any]:
    if after is not None:
        due_at, run_id = after
        # the first half is what the index can begin at
        conditions.append(runs.c.due_at <= due_at)
        conditions.append(or_(runs.c.due_at < due_at, and_(runs.c.id < run_id)))
    if len(states) < 2 or wanted.schedule is not None:
        if states:
            conditions.append(runs.c.state.in_(states))
        return _newest(select(*_COLUMNS).where(*conditions), runs.c, limit)
    # one walk along (state, due_at) for each state, then merged: a single
    # IN would read all rows of the rarer states, or all rows
    walks = [
        _newest(
            select(*_COLUMNS).where(runs.c.state == state, *conditions), runs.c, limit
        ).subquery()
        for state in dict.fromkeys(states)
    ]
    merged = union_all(*(select(walk) for walk in walks)).subquery()
    return _newest(select(merged), merged.c, limit)


def _newest(statement: Select[Any], columns: Any, limit: int) -> Select[Any]:
    return statement.order_by(columns.due_at.desc(), columns.id.desc()).limit(limit)


def _conditions(wanted: RunFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [
        runs.c[name] == value
        for name in ("task", "lane", "worker")
        if (value := getattr(wanted, name)) is not None
    ]
    if wanted.origin is not None:
        conditions.append(_origin(wanted.origin))
    conditions += [_flag(name) for name in wanted.flags]
    if wanted.due_after is not None:
        conditions.append(runs.c.due_at > wanted.due_after)
    if wanted.due_before is not None:
        conditions.append(runs.c.due_at <= wanted.due_before)
    return conditions


def _flag(name: str) -> ColumnElement[bool]:
    if name == "retried":
        return runs.c.retries > 0
    flag: ColumnElement[bool] = runs.c[name].is_(True)
    return flag


def _origin(origin: str) -> ColumnElement[bool]:
    if origin in ORIGINS and origin != AUTO:
        return runs.c.origin.startswith(f"{origin}:", autoescape=True)
    return runs.c.origin == origin
