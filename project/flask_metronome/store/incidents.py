"""Opening and closing incidents, in SQL.

``open_key`` is unique while an incident is open, so that however many monitors
judge, and however often, one rule of one schedule has one incident.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, select, update

from flask_metronome.core.incident import (
    GROUP_SECONDS,
    IncidentState,
    Kind,
    Standing,
    to_group,
)
from flask_metronome.core.notice import cause_words
from flask_metronome.errors import Conflict, NotFound
from flask_metronome.models import incidents
from flask_metronome.store import audit, mutes
from flask_metronome.store.dialects import insert_ignore
from flask_metronome.store.standing_rows import Watched
from flask_metronome.store.telling import Telling
from flask_metronome.store.upserts import insert_new, rows_changed

#: Rules of a schedule; each has at most one open incident.
RUNS, BLOCKED, STUCK, BROKEN = "runs", "blocked", "stuck", "broken"
GROUP = "group:"
#: What happened is told in so many characters at the most.
HAPPENED_CHARACTERS = 500

#: Said so that the index serves: what is closed is never looked over.
IS_OPEN = incidents.c.state.in_((IncidentState.OPEN, IncidentState.ACKNOWLEDGED))

Incident = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Opening:
    """An incident that is to be opened."""

    schedule: Watched
    rule: str
    kind: Kind
    happened: str
    since: datetime
    count: int = 1
    last_due_at: datetime | None = None
    cause: str | None = None
    first_run: str | None = None
    last_run: str | None = None

    @property
    def key(self) -> str:
        """The open key of its incident."""
        return open_key(self.schedule.id, self.rule)


def open_key(schedule_id: str, rule: str) -> str:
    """What is unique among the open incidents."""
    return f"{schedule_id}:{rule}"


def open_ones(
    connection: Connection, schedule_ids: Iterable[str], rules: Sequence[str]
) -> dict[str, Incident]:
    """The open incidents of these schedules, by open key."""
    keys = [open_key(found, rule) for found in schedule_ids for rule in rules]
    rows = connection.execute(select(incidents).where(incidents.c.open_key.in_(keys)))
    return {row.open_key: dict(row._mapping) for row in rows}


def open_all(
    connection: Connection,
    openings: Sequence[Opening],
    standings: Mapping[str, Standing],
    telling: Telling,
    now: datetime,
) -> None:
    """Open these incidents; many of one cause become parts of one."""
    if not openings:
        return
    groups = _groups(connection, openings, telling, now)
    rows = [
        _row(opening, standings.get(opening.schedule.id, Standing()), now)
        | {"part_of": groups.get(opening.cause or "")}
        for opening in openings
    ]
    insert_ignore(connection, incidents, rows)
    for row in rows:
        telling.event(connection, row, "opened", now)
    _recount(connection, groups.values())


def refresh(
    connection: Connection, incident: Incident, opening: Opening, now: datetime
) -> None:
    """Say how an open incident goes on."""
    connection.execute(
        update(incidents)
        .where(incidents.c.id == incident["id"], incidents.c.open_key.is_not(None))
        .values(
            bad_count=opening.count,
            happened=opening.happened,
            last_due_at=opening.last_due_at or incident["last_due_at"],
            last_run=opening.last_run or incident["last_run"],
        )
    )


def close(
    connection: Connection,
    incident: Incident,
    telling: Telling,
    now: datetime,
    *,
    reason: str,
    who: str | None = None,
    last_good: tuple[datetime, str | None] | None = None,
) -> bool:
    """Close it, and say so to whoever was told of it; whether it was open."""
    values: dict[str, Any] = {
        "state": IncidentState.CLOSED,
        "open_key": None,
        "closed_at": now,
        "close_reason": reason,
    }
    if last_good is not None:
        values |= {"last_good_at": last_good[0], "last_good_run": last_good[1]}
    changed = connection.execute(
        update(incidents)
        .where(incidents.c.id == incident["id"], incidents.c.open_key.is_not(None))
        .values(values)
    )
    if not rows_changed(changed):
        return False
    closed = dict(incident) | values
    telling.event(connection, closed, "closed", now)
    if who is None and _is_heard_of(connection, incident, now):
        telling.notice(connection, closed, "closed", now)
    return True


def damp(
    connection: Connection, incident: Incident, telling: Telling, now: datetime
) -> None:
    """Keep one open that goes up and down, and say so once."""
    changed = connection.execute(
        update(incidents)
        .where(incidents.c.id == incident["id"], incidents.c.damped_at.is_(None))
        .values(damped_at=now)
    )
    if rows_changed(changed) and _is_heard_of(connection, incident, now):
        telling.notice(connection, incident, "flapping", now)


def acknowledge(
    connection: Connection,
    incident_id: str,
    *,
    note: str | None,
    who: str,
    now: datetime,
    telling: Telling,
) -> None:
    """Take note of an incident: nobody is told of it again until it closes.

    :raises NotFound: there is no such incident.
    :raises Conflict: it is closed.
    """
    found = _get_open(connection, incident_id)
    values = {
        "state": IncidentState.ACKNOWLEDGED,
        "acknowledged_at": now,
        "acknowledged_by": who[:190],
        "note": note if note is not None else found["note"],
    }
    connection.execute(
        update(incidents).where(incidents.c.id == incident_id).values(values)
    )
    telling.event(connection, dict(found) | values, "acknowledged", now)
    _note(connection, incident_id, "incident.acknowledge", note, who, now)


def close_by_hand(
    connection: Connection,
    incident_id: str,
    *,
    note: str | None,
    who: str,
    now: datetime,
    telling: Telling,
) -> None:
    """Close an incident that a person knows to be over.

    :raises NotFound: there is no such incident.
    :raises Conflict: it is closed already.
    """
    found = dict(_get_open(connection, incident_id))
    if note is not None:
        found["note"] = note
        connection.execute(
            update(incidents).where(incidents.c.id == incident_id).values(note=note)
        )
    close(connection, found, telling, now, reason="by_hand", who=who)
    for part in _parts(connection, incident_id):
        close(connection, part, telling, now, reason="by_hand", who=who)
    _note(connection, incident_id, "incident.close", note, who, now)


def open_group(
    connection: Connection, cause: str, telling: Telling, now: datetime, **values: Any
) -> str:
    """The one incident of many for a cause, opened if need be; its id.

    :param values: further columns of a new one, ``bad_since`` among them.
    """
    key = f"{GROUP}{cause}"
    fresh = {
        "id": str(uuid.uuid4()),
        "open_key": key,
        "kind": Kind.SYSTEM,
        "state": IncidentState.OPEN,
        "cause": cause,
        "lane": cause.partition("lane:")[2] or None,
        "opened_at": now,
        "bad_count": 0,
        "happened": cause_words(cause),
        **values,
    }
    is_new = insert_new(connection, incidents, fresh)
    row = connection.execute(select(incidents).where(incidents.c.open_key == key)).one()
    if is_new:
        telling.event(connection, dict(row._mapping), "opened", now)
    return str(row.id)


def get(connection: Connection, incident_id: str) -> Incident:
    """One incident's row.

    :raises NotFound: there is none.
    """
    row = connection.execute(
        select(incidents).where(incidents.c.id == incident_id)
    ).first()
    if row is None:
        raise NotFound("incident", incident_id)
    return dict(row._mapping)


# -- parts -----------------------------------------------------------------------


def _row(opening: Opening, standing: Standing, now: datetime) -> dict[str, Any]:
    return {
        "id": str(uuid.uuid4()),
        "open_key": opening.key,
        "schedule_id": opening.schedule.id,
        "schedule_key": opening.schedule.key,
        "lane": opening.schedule.lane,
        "kind": opening.kind,
        "state": IncidentState.OPEN,
        "cause": opening.cause,
        "opened_at": now,
        "closed_at": None,
        "close_reason": None,
        "bad_since": opening.since,
        "last_due_at": opening.last_due_at or opening.since,
        "bad_count": opening.count,
        "first_run": opening.first_run,
        "last_run": opening.last_run,
        "happened": opening.happened,
        "last_good_at": standing.last_good_at,
        "last_good_run": standing.last_good_run,
        "acknowledged_by": None,
        "acknowledged_at": None,
        "note": None,
    }


def _groups(
    connection: Connection,
    openings: Sequence[Opening],
    telling: Telling,
    now: datetime,
) -> dict[str, str]:
    """Cause → the incident that the openings of that cause are part of."""
    lately = connection.execute(
        select(incidents.c.id, incidents.c.cause, incidents.c.bad_since).where(
            IS_OPEN,
            incidents.c.opened_at >= now - timedelta(seconds=GROUP_SECONDS),
            incidents.c.schedule_id.is_not(None),
            incidents.c.part_of.is_(None),
            incidents.c.cause.is_not(None),
        )
    ).all()
    there = connection.scalars(
        select(incidents.c.cause).where(
            IS_OPEN,
            incidents.c.schedule_id.is_(None),
        )
    ).all()
    causes = to_group(
        {opening.key: opening.cause for opening in openings},
        Counter(row.cause for row in lately),
        there,
    )
    groups = {}
    for cause in sorted(causes):
        joining = [row for row in lately if row.cause == cause]
        since = [row.bad_since for row in joining]
        since += [opening.since for opening in openings if opening.cause == cause]
        groups[cause] = open_group(
            connection,
            cause,
            telling,
            now,
            bad_since=min(since),
            bad_count=len(since),
        )
        connection.execute(
            update(incidents)
            .where(incidents.c.id.in_([row.id for row in joining]))
            .values(part_of=groups[cause])
        )
    return groups


def _recount(connection: Connection, groups: Iterable[str]) -> None:
    part = incidents.alias("part")
    for group in groups:
        there = connection.execute(
            select(
                func.count(func.distinct(part.c.schedule_id)).label("bad_count"),
                func.max(part.c.last_due_at).label("last_due_at"),
                func.max(part.c.last_good_at).label("last_good_at"),
            ).where(part.c.part_of == group)
        ).one()
        connection.execute(
            update(incidents)
            .where(incidents.c.id == group)
            .values(dict(there._mapping))
        )


def _is_heard_of(connection: Connection, incident: Incident, now: datetime) -> bool:
    """Whether somebody was told of it, and may be told more."""
    told = incident["notified_at"] is not None and not incident["muted"]
    return told and not mutes.hold(connection, incident, now)


def _get_open(connection: Connection, incident_id: str) -> Incident:
    found = get(connection, incident_id)
    if found["state"] == IncidentState.CLOSED:
        raise Conflict(f"The incident {incident_id} is closed.")
    return found


def _parts(connection: Connection, incident_id: str) -> list[Incident]:
    rows = connection.execute(
        select(incidents).where(
            incidents.c.part_of == incident_id, incidents.c.open_key.is_not(None)
        )
    )
    return [dict(row._mapping) for row in rows]


def _note(
    connection: Connection,
    incident_id: str,
    action: str,
    note: str | None,
    who: str,
    now: datetime,
) -> None:
    audit.note(
        connection,
        now=now,
        who=who,
        action=action,
        subject=incident_id,
        detail=None if note is None else {"note": note},
    )
