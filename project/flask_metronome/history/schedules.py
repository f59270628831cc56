"""Reads of schedules, and the strips of their last runs, all in one statement."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Float,
    Integer,
    Select,
    and_,
    func,
    literal,
    or_,
    select,
    true,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from flask_metronome.errors import NotFound
from flask_metronome.history.cursor import USUAL, mark_of, read_cursor, write_cursor
from flask_metronome.history.troubled import in_trouble
from flask_metronome.history.values import Bar, ScheduleView, Slice, names_of
from flask_metronome.models import UtcDateTime, runs, schedules

STRIP = 60

_BAR_COLUMNS = [runs.c[name] for name in names_of(Bar)]
_EVER = literal(datetime(1, 1, 2, tzinfo=UTC), UtcDateTime())
_COLUMNS = [schedules.c[name] for name in names_of(ScheduleView)]
_KINDS: dict[str, Any] = {
    column.name: datetime if isinstance(column.type, UtcDateTime) else float | int
    for column in _COLUMNS
    if isinstance(column.type, UtcDateTime | Float | Integer)
}


@dataclass(frozen=True, kw_only=True, slots=True)
class ScheduleFilter:
    """Which schedules. ``q`` is a part of the key, the task or the description."""

    task: str | None = None
    lane: str | None = None
    enabled: bool | None = None
    states: tuple[str, ...] = ()
    q: str | None = None


async def list_schedules(
    connection: AsyncConnection,
    wanted: ScheduleFilter,
    *,
    limit: int = USUAL,
    cursor: str | None = None,
    troubled_at: datetime | None = None,
) -> Slice[ScheduleView]:
    """The schedules that ``wanted`` names, by key.

    :param troubled_at: only those that somebody should look at, as of that instant.
    :raises InputInvalid: naming ``cursor``, when it is not of this list.
    """
    mark = mark_of("schedules", wanted)
    conditions = _conditions(wanted)
    if troubled_at is not None:
        conditions.append(in_trouble(troubled_at))
    if cursor:
        conditions.append(schedules.c.key > read_cursor(mark, cursor, (str,))[0])
    statement = (
        select(*_COLUMNS).where(*conditions).order_by(schedules.c.key).limit(limit + 1)
    )
    rows = (await connection.execute(statement)).mappings()
    found = [_view(row) for row in rows]
    following = None
    if len(found) > limit:
        following = write_cursor(mark, (found[limit - 1].key,))
    return Slice(items=tuple(found[:limit]), next_cursor=following)


async def get_schedule(connection: AsyncConnection, key: str) -> ScheduleView:
    """One schedule.

    :raises NotFound: when there is none of that key.
    """
    statement = select(*_COLUMNS).where(schedules.c.key == key)
    row = (await connection.execute(statement)).mappings().one_or_none()
    if row is None:
        raise NotFound("schedule", key)
    return _view(row)


async def coming_schedules(
    connection: AsyncConnection, until: datetime, *, lane: str | None, limit: int
) -> list[ScheduleView]:
    """The schedules that are due up to an instant, the soonest first."""
    conditions = _conditions(ScheduleFilter(lane=lane, enabled=True))
    statement = (
        select(*_COLUMNS)
        .where(schedules.c.next_due_at <= until, *conditions)
        .order_by(schedules.c.next_due_at, schedules.c.key)
        .limit(limit)
    )
    rows = (await connection.execute(statement)).mappings()
    return [ScheduleView(**row) for row in rows]


async def strips(
    connection: AsyncConnection, schedule_ids: Sequence[str], *, length: int = STRIP
) -> dict[str, list[Bar]]:
    """The last runs of each of these schedules, oldest first, in one statement.

    Where each strip begins is read off the history index, so the cost follows
    the strips and not the history behind them.
    """
    if not schedule_ids:
        return {}
    # where a planner can be told to, it walks each strip's index; it would
    # otherwise guess that a strip is a third of the history, and read all of it
    lateral = connection.dialect.name == "postgresql"
    statement = (_walked if lateral else _bounded)(schedule_ids, length)
    found: dict[str, list[Bar]] = defaultdict(list)
    for row in (await connection.execute(statement)).mappings():
        found[row["schedule_id"]].append(Bar(**row))
    order = attrgetter("due_at", "id")
    return {key: sorted(bars, key=order)[-length:] for key, bars in found.items()}


def _view(row: Mapping[Any, Any]) -> ScheduleView:
    """The row; what somebody wrote into it that is no instant or no number is not
    there."""
    wrong = {
        name: None
        for name, kind in _KINDS.items()
        if not isinstance(row[name], kind | None)
    }
    return ScheduleView(**(dict(row) | wrong))


def _walked(schedule_ids: Sequence[str], length: int) -> Select[Any]:
    strip = (
        select(*_BAR_COLUMNS)
        .where(runs.c.schedule_id == schedules.c.id)
        .order_by(runs.c.due_at.desc())
        .limit(length)
        .correlate(schedules)
        .lateral("strip")
    )
    return (
        select(strip)
        .select_from(schedules.join(strip, true()))
        .where(schedules.c.id.in_(schedule_ids))
    )


def _bounded(schedule_ids: Sequence[str], length: int) -> Select[Any]:
    """The same where there is no LATERAL: first where each strip begins."""
    older = runs.alias("older")
    begins = (
        select(older.c.due_at)
        .where(older.c.schedule_id == schedules.c.id)
        .order_by(older.c.due_at.desc())
        .offset(length - 1)
        .limit(1)
        .correlate(schedules)
        .scalar_subquery()
    )
    edges = (
        select(schedules.c.id.label("id"), func.coalesce(begins, _EVER).label("begins"))
        .where(schedules.c.id.in_(schedule_ids))
        .subquery("edges")
    )
    return select(*_BAR_COLUMNS).join_from(
        edges,
        runs,
        and_(runs.c.schedule_id == edges.c.id, runs.c.due_at >= edges.c.begins),
    )


def _conditions(wanted: ScheduleFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    for name in ("task", "lane"):
        value = getattr(wanted, name)
        if value is not None:
            conditions.append(schedules.c[name] == value)
    if wanted.states:
        conditions.append(schedules.c.state.in_(wanted.states))
    if wanted.enabled is not None:
        active = schedules.c.state == "active"
        conditions.append(active if wanted.enabled else ~active)
    if wanted.q:
        conditions.append(
            or_(
                *(
                    schedules.c[name].icontains(wanted.q, autoescape=True)
                    for name in ("key", "task", "description")
                )
            )
        )
    return conditions
