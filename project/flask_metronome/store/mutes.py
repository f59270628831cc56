"""Mutes and maintenance windows: what is recorded then and told nobody."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, or_, select, update

from flask_metronome.errors import InputInvalid, NotFound
from flask_metronome.models import incidents, mutes, schedules
from flask_metronome.store import audit
from flask_metronome.store.upserts import rows_changed

EVERYTHING = "*"
_EXPECTED = "«*», «schedule:<key>» or «lane:<lane>»"


@dataclass(frozen=True, kw_only=True, slots=True)
class Mute:
    """A span in which nobody is told of incidents.

    :param scope: ``*``, ``schedule:<key>`` or ``lane:<lane>``.
    :param until_at: ``None``: until it is ended.
    """

    id: str
    scope: str
    from_at: datetime
    until_at: datetime | None
    who: str
    reason: str | None
    created_at: datetime


def add(
    connection: Connection,
    *,
    scope: str,
    lanes: Collection[str],
    from_at: datetime | None,
    until_at: datetime | None,
    reason: str | None,
    who: str,
    now: datetime,
) -> Mute:
    """Mute a scope from an instant (now) to another (until ended).

    :param lanes: those that the app knows; one that a schedule names will do, too.
    :raises InputInvalid: no such scope, schedule or lane, or a span that is over
        or empty.
    """
    kind, colon, name = scope.partition(":")
    named = kind in ("schedule", "lane") and bool(colon and name)
    if not (scope == EVERYTHING or named) or len(scope) > 255:
        raise InputInvalid("scope", _EXPECTED, scope)
    _check_there(connection, kind, name, lanes)
    begins = from_at or now
    if until_at is not None and until_at <= max(begins, now):
        raise InputInvalid("until", "an instant to come", until_at.isoformat())
    found = Mute(
        id=str(uuid.uuid4()),
        scope=scope,
        from_at=begins,
        until_at=until_at,
        who=who[:190],
        reason=reason,
        created_at=now,
    )
    values = {name: getattr(found, name) for name in Mute.__slots__}
    connection.execute(insert(mutes).values(values))
    audit.note(connection, now=now, who=who, action="mute.add", subject=scope)
    return found


def _check_there(
    connection: Connection, kind: str, name: str, lanes: Collection[str]
) -> None:
    """Refuse what a slip of the finger would mute: nothing."""
    if kind == EVERYTHING or (kind == "lane" and name in lanes):
        return
    column = schedules.c.lane if kind == "lane" else schedules.c.key
    if connection.scalar(select(column).where(column == name).limit(1)) is None:
        known = f"one of {', '.join(lanes)}" if kind == "lane" else "a schedule's key"
        raise InputInvalid("scope", f"after «{kind}:» {known}", name)


def end(connection: Connection, mute_id: str, *, who: str, now: datetime) -> None:
    """End a mute now, or take one back that has not begun.

    :raises NotFound: there is none, or it is over.
    """
    changed = connection.execute(
        update(mutes)
        .where(
            mutes.c.id == mute_id,
            or_(mutes.c.until_at.is_(None), mutes.c.until_at > now),
        )
        .values(until_at=now)
    )
    if not rows_changed(changed):
        raise NotFound("mute", mute_id)
    audit.note(connection, now=now, who=who, action="mute.end", subject=mute_id)


def scopes_now(connection: Connection, now: datetime) -> frozenset[str]:
    """What is muted at this instant."""
    return frozenset(
        connection.scalars(
            select(mutes.c.scope).where(
                mutes.c.from_at <= now,
                or_(mutes.c.until_at.is_(None), mutes.c.until_at > now),
            )
        )
    )


def hold(connection: Connection, incident: Any, now: datetime) -> bool:
    """Whether nobody is told of an incident at this instant.

    One of many schedules is muted when each of them is.
    """
    scopes = scopes_now(connection, now)
    if not scopes or is_muted(scopes, incident):
        return bool(scopes)
    if incident["schedule_key"] is not None:
        return False
    parts = connection.execute(
        select(incidents.c.lane, incidents.c.schedule_key)
        .where(incidents.c.part_of == incident["id"])
        .distinct()
    ).all()
    return bool(parts) and all(is_muted(scopes, part._mapping) for part in parts)


def is_muted(scopes: Iterable[str], incident: Any) -> bool:
    """Whether an incident's row falls under one of the scopes."""
    own = {EVERYTHING}
    if incident["lane"]:
        own.add(f"lane:{incident['lane']}")
    if incident["schedule_key"]:
        own.add(f"schedule:{incident['schedule_key']}")
    return not own.isdisjoint(scopes)
