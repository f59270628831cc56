"""Reads of incidents and mutes, newest first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import and_, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from flask_metronome.errors import NotFound
from flask_metronome.history.cursor import USUAL, mark_of, read_cursor, write_cursor
from flask_metronome.history.values import RunView, Slice, names_of
from flask_metronome.models import incidents, messages, mutes

_MOST = 200
_FEW = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class IncidentView:
    """One incident, as its row says."""

    id: str
    schedule_key: str | None
    lane: str | None
    kind: str
    state: str
    cause: str | None
    part_of: str | None
    opened_at: datetime
    closed_at: datetime | None
    close_reason: str | None
    bad_since: datetime
    last_due_at: datetime | None
    bad_count: int
    first_run: str | None
    last_run: str | None
    happened: str
    last_good_at: datetime | None
    last_good_run: str | None
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    note: str | None
    muted: bool
    damped_at: datetime | None
    notified_at: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class NoticeView:
    """One notification of an incident to one channel."""

    type: str
    channel: str
    state: str
    tries: int
    error: str | None
    created_at: datetime
    settled_at: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class IncidentDetail:
    """An incident with its parts and what was told of it."""

    incident: IncidentView
    parts: tuple[IncidentView, ...]
    notices: tuple[NoticeView, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class MuteView:
    """A span in which incidents of a scope are recorded and not told."""

    id: str
    scope: str
    from_at: datetime
    until_at: datetime | None
    who: str
    reason: str | None
    created_at: datetime


_COLUMNS = [incidents.c[name] for name in names_of(IncidentView)]
_MUTE_COLUMNS = [mutes.c[name] for name in names_of(MuteView)]


async def list_incidents(
    connection: AsyncConnection,
    *,
    states: tuple[str, ...] = (),
    schedule: str | None = None,
    parts: bool = False,
    limit: int = USUAL,
    cursor: str | None = None,
) -> Slice[IncidentView]:
    """The incidents, newest first.

    :param states: open, acknowledged, closed; none: all.
    :param parts: also those that are part of another.
    :raises InputInvalid: naming ``cursor``, when it is not of this list.
    """
    mark = mark_of("incidents", (states, schedule, parts))
    statement = select(*_COLUMNS)
    if states:
        statement = statement.where(incidents.c.state.in_(states))
    if schedule is not None:
        statement = statement.where(incidents.c.schedule_key == schedule)
    elif not parts:
        statement = statement.where(incidents.c.part_of.is_(None))
    if cursor:
        at, found = read_cursor(mark, cursor, (datetime, str))
        same = and_(incidents.c.opened_at == at, incidents.c.id < found)
        statement = statement.where(or_(incidents.c.opened_at < at, same))
    statement = statement.order_by(
        incidents.c.opened_at.desc(), incidents.c.id.desc()
    ).limit(limit + 1)
    rows = (await connection.execute(statement)).mappings()
    items = [IncidentView(**row) for row in rows]
    following = None
    if len(items) > limit:
        last = items[limit - 1]
        following = write_cursor(mark, (last.opened_at, last.id))
    return Slice(items=tuple(items[:limit]), next_cursor=following)


async def incidents_of_run(
    connection: AsyncConnection, run: RunView
) -> list[IncidentView]:
    """The incidents in whose span a bad run lies: the first ones of its schedule."""
    statement = (
        select(*_COLUMNS)
        .where(
            incidents.c.schedule_key == run.schedule_key,
            incidents.c.bad_since <= run.due_at,
            or_(
                incidents.c.first_run == run.id,
                incidents.c.last_run == run.id,
                incidents.c.last_due_at >= run.due_at,
            ),
        )
        .order_by(incidents.c.opened_at)
        .limit(_FEW)
    )
    rows = (await connection.execute(statement)).mappings()
    return [IncidentView(**row) for row in rows]


async def get_incident(connection: AsyncConnection, incident_id: str) -> IncidentDetail:
    """One incident, with its parts and the notifications of it.

    :raises NotFound: there is none.
    """
    statement = select(*_COLUMNS).where(incidents.c.id == incident_id)
    row = (await connection.execute(statement)).mappings().one_or_none()
    if row is None:
        raise NotFound("incident", incident_id)
    parts = (
        select(*_COLUMNS)
        .where(incidents.c.part_of == incident_id)
        .order_by(incidents.c.schedule_key)
        .limit(_MOST)
    )
    told = (
        select(messages)
        .where(messages.c.incident_id == incident_id, messages.c.kind == "notice")
        .order_by(messages.c.created_at, messages.c.id)
        .limit(_MOST)
    )
    members = (await connection.execute(parts)).mappings().all()
    notices = (await connection.execute(told)).mappings().all()
    return IncidentDetail(
        incident=IncidentView(**row),
        parts=tuple(IncidentView(**member) for member in members),
        notices=tuple(_notice(dict(notice)) for notice in notices),
    )


async def list_mutes(connection: AsyncConnection, now: datetime) -> list[MuteView]:
    """The mutes that hold or are to come."""
    statement = (
        select(*_MUTE_COLUMNS)
        .where(or_(mutes.c.until_at.is_(None), mutes.c.until_at > now))
        .order_by(mutes.c.from_at, mutes.c.id)
        .limit(_MOST)
    )
    rows = (await connection.execute(statement)).mappings()
    return [MuteView(**row) for row in rows]


def _notice(row: Mapping[str, Any]) -> NoticeView:
    return NoticeView(
        type=row["type"],
        channel=row["destination"].partition(":")[0],
        state=row["state"],
        tries=row["tries"],
        error=row["error"],
        created_at=row["created_at"],
        settled_at=row["settled_at"],
    )
