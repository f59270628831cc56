"""The outbox: runs in ``planned`` until the broker has confirmed them.

A beat claims a batch (committed), publishes, and records what came of it.
Claims run out, so that what a dead beat held is published by another.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    case,
    func,
    or_,
    select,
    true,
    update,
)

from flask_metronome.core.run import MissedReason, RunState
from flask_metronome.models import runs

#: Longest pause before a refused run is offered again, seconds.
LONGEST_BACKOFF_SECONDS = 60
#: Returns by the broker after which a run counts as unroutable.
MOST_RETURNS = 6


@dataclass(frozen=True, kw_only=True, slots=True)
class OutboxRow:
    """What is needed to publish a run."""

    id: str
    schedule_key: str
    origin: str
    due_at: datetime
    task: str
    lane: str
    args: list[Any]
    kwargs: dict[str, Any]
    options: dict[str, Any]
    catchup: bool
    missed_count: int
    deadline_at: datetime | None
    retries: int = 0

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> OutboxRow:
        """From a run's columns; one that has begun has no start deadline any more."""
        values = {name: row[name] for name in _NAMES}
        if row.get("started_at") is not None:
            values["deadline_at"] = None
        return cls(**values, retries=row.get("retries", 0))


_NAMES = (
    "id",
    "schedule_key",
    "origin",
    "due_at",
    "task",
    "lane",
    "args",
    "kwargs",
    "options",
    "catchup",
    "missed_count",
    "deadline_at",
)


def claim(
    connection: Connection,
    *,
    now: datetime,
    owner: str,
    lease_seconds: float,
    limit: int,
) -> list[OutboxRow]:
    """Take planned runs nobody is publishing, oldest first."""
    _expire(connection, now)
    rows = connection.execute(
        select(*(runs.c[name] for name in (*_NAMES, "retries", "started_at")))
        .where(
            runs.c.state == RunState.PLANNED,
            runs.c.publish_after <= now,
            or_(runs.c.publish_until.is_(None), runs.c.publish_until < now),
        )
        .order_by(runs.c.publish_after)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    if rows:
        connection.execute(
            update(runs)
            .where(runs.c.id.in_([row.id for row in rows]))
            .values(
                publish_owner=owner,
                publish_until=now + timedelta(seconds=lease_seconds),
            )
        )
    return [OutboxRow.of(dict(row._mapping)) for row in rows]


def record_published(
    connection: Connection,
    ids: Iterable[str],
    *,
    now: datetime,
    owner: str | None = None,
) -> None:
    """The broker has these: forward to ``published`` where nothing came first.

    :param owner: whose claim they were published under. One that is no longer
        that owner's was meanwhile put back into the outbox, perhaps because its
        message was used up: it stays there. ``None``: whosoever.
    """
    ids = list(ids)
    if not ids:
        return
    # one that is published again was confirmed before, maybe in time
    is_late = and_(runs.c.published_at.is_(None), runs.c.grace_until < now)
    mine = _is_mine(owner)
    connection.execute(
        update(runs)
        .where(runs.c.id.in_(ids))
        .values(
            published_at=func.coalesce(runs.c.published_at, now),
            # a worker may have claimed it before we could say so
            state=case(
                (and_(runs.c.state == RunState.PLANNED, mine), RunState.PUBLISHED),
                else_=runs.c.state,
            ),
            reason=case(
                (
                    and_(is_late, runs.c.reason.is_(None)),
                    MissedReason.PUBLISH_FAILED,
                ),
                else_=runs.c.reason,
            ),
            missed=or_(runs.c.missed, is_late),
            publish_owner=case((mine, None), else_=runs.c.publish_owner),
            publish_until=case((mine, None), else_=runs.c.publish_until),
            publish_error=None,
            updated_at=now,
        )
    )


def record_refused(
    connection: Connection,
    refused: Mapping[str, str],
    *,
    now: datetime,
    unroutable: bool,
    owner: str | None = None,
) -> None:
    """The broker refused or returned these: offer them again after a pause.

    :param refused: reasons by run id.
    :param unroutable: returned, so that no lane took them; after
        :data:`MOST_RETURNS` such a run is missed(unroutable).
    """
    for run, why in refused.items():
        tries = connection.execute(
            select(runs.c.publish_tries).where(runs.c.id == run)
        ).scalar()
        tries = (tries or 0) + 1
        values: dict[str, Any] = {
            "publish_tries": tries,
            "publish_error": why,
            "publish_owner": None,
            "publish_until": None,
            "publish_after": now + timedelta(seconds=backoff_seconds(tries)),
            "updated_at": now,
        }
        if unroutable and tries >= MOST_RETURNS:
            values |= {
                "state": RunState.MISSED,
                "missed": True,
                # why it was missed at first stays, so that no count changes sides
                "reason": func.coalesce(runs.c.reason, MissedReason.UNROUTABLE),
                "error": why,
                "finished_at": now,
            }
        connection.execute(
            update(runs)
            .where(runs.c.id == run, runs.c.state == RunState.PLANNED, _is_mine(owner))
            .values(values)
        )


def release(
    connection: Connection,
    ids: Iterable[str],
    *,
    now: datetime,
    why: str | None,
    owner: str | None = None,
) -> None:
    """Outcome unknown: give these back, to be published again under the same id."""
    ids = list(ids)
    if not ids:
        return
    connection.execute(
        update(runs)
        .where(runs.c.id.in_(ids), runs.c.state == RunState.PLANNED, _is_mine(owner))
        .values(
            publish_owner=None,
            publish_until=None,
            publish_error=why,
            updated_at=now,
        )
    )


def backoff_seconds(tries: int) -> float:
    """1, 2, 4 … seconds, at most :data:`LONGEST_BACKOFF_SECONDS`."""
    return float(min(2 ** max(tries - 1, 0), LONGEST_BACKOFF_SECONDS))


def _is_mine(owner: str | None) -> ColumnElement[bool]:
    return true() if owner is None else runs.c.publish_owner == owner


def _expire(connection: Connection, now: datetime) -> None:
    connection.execute(
        update(runs)
        .where(
            runs.c.state == RunState.PLANNED,
            runs.c.deadline_at < now,
            runs.c.started_at.is_(None),
        )
        .values(
            state=RunState.EXPIRED,
            reason=MissedReason.EXPIRED,
            missed=True,
            finished_at=now,
            updated_at=now,
        )
    )
