"""The outbox of notifications and events: written with what they tell of.

A message is claimed by moving its next try into the future, sent without a
transaction, and settled. Whoever dies in between leaves it to be sent again:
at least once, always under the same id.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    delete,
    exists,
    select,
    update,
)

from flask_metronome.models import messages
from flask_metronome.store import counters
from flask_metronome.store.dialects import insert_ignore
from flask_metronome.store.upserts import rows_changed

NOTICE = "notice"
EVENT = "event"
#: Tries of a notification before it is given up: some two hours.
MOST_TRIES = 12
_FIRST_PAUSE_SECONDS = 5.0
_LONGEST_PAUSE_SECONDS = 1800.0
#: How long a sent event stays, so that none is written twice.
_EVENT_STAYS = timedelta(hours=1)
_NOTICE_STAYS = timedelta(days=30)


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """What is to be sent.

    :param destination: the channel's id; of an event its routing key.
    """

    id: str
    type: str
    destination: str
    body: Mapping[str, Any]
    tries: int


def row(
    *,
    id: str,
    kind: str,
    destination: str,
    body: Mapping[str, Any],
    now: datetime,
    incident_id: str | None = None,
) -> dict[str, Any]:
    """A message's row, to be sent as soon as may be."""
    return {
        "id": id,
        "kind": kind,
        "type": body["type"],
        "destination": destination,
        "body": dict(body),
        "incident_id": incident_id,
        "state": "pending",
        "next_try_at": now,
        "created_at": now,
    }


def add(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Put messages into the outbox; one that is there already stays as it is."""
    insert_ignore(connection, messages, rows)


def is_due(
    connection: Connection, kind: str, *, now: datetime, leave: Collection[str] = ()
) -> bool:
    """Whether there is a message to be claimed; asked without any lock."""
    return bool(connection.scalar(select(exists().where(_due(kind, now, leave)))))


def _due(kind: str, now: datetime, leave: Collection[str]) -> ColumnElement[bool]:
    return and_(
        messages.c.state == "pending",
        messages.c.kind == kind,
        messages.c.next_try_at <= now,
        messages.c.destination.not_in(leave),
    )


def claim(
    connection: Connection,
    kind: str,
    *,
    now: datetime,
    lease_seconds: float,
    limit: int,
    leave: Collection[str] = (),
) -> list[Message]:
    """Take messages that nobody is sending, oldest first.

    :param leave: destinations whose messages somebody else sends.
    """
    rows = connection.execute(
        select(
            messages.c.id,
            messages.c.type,
            messages.c.destination,
            messages.c.body,
            messages.c.tries,
        )
        .where(_due(kind, now, leave))
        .order_by(messages.c.next_try_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    if rows:
        connection.execute(
            update(messages)
            .where(messages.c.id.in_([found.id for found in rows]))
            .values(
                next_try_at=now + timedelta(seconds=lease_seconds),
                tries=messages.c.tries + 1,
            )
        )
    return [
        Message(
            id=found.id,
            type=found.type,
            destination=found.destination,
            body=found.body,
            tries=found.tries + 1,
        )
        for found in rows
    ]


def record_sent(connection: Connection, ids: Sequence[str], *, now: datetime) -> int:
    """These are with whom they are for; how many were not settled before."""
    if not ids:
        return 0
    return rows_changed(
        connection.execute(
            update(messages)
            .where(messages.c.id.in_(ids), messages.c.state == "pending")
            .values(state="sent", error=None, settled_at=now)
        )
    )


def record_failed(
    connection: Connection, message: Message, *, why: str, now: datetime, final: bool
) -> bool:
    """It could not be sent; whether it is given up.

    :param final: there is no use in trying again.
    """
    final = final or message.tries >= MOST_TRIES
    values: dict[str, Any] = {"error": why[:1000]}
    if final:
        values |= {"state": "failed", "settled_at": now}
    else:
        pause = backoff_seconds(message.tries)
        values["next_try_at"] = now + timedelta(seconds=pause)
    connection.execute(
        update(messages)
        .where(messages.c.id == message.id, messages.c.state == "pending")
        .values(values)
    )
    return final


def release(
    connection: Connection, ids: Sequence[str], *, why: str, now: datetime
) -> None:
    """Nobody knows what became of these: send them again soon."""
    if ids:
        connection.execute(
            update(messages)
            .where(messages.c.id.in_(ids), messages.c.state == "pending")
            .values(
                error=why[:1000],
                next_try_at=now + timedelta(seconds=_FIRST_PAUSE_SECONDS),
            )
        )


def backoff_seconds(tries: int) -> float:
    """5, 10, 20 … seconds, at most half an hour."""
    longest = _LONGEST_PAUSE_SECONDS
    return min(_FIRST_PAUSE_SECONDS * 2.0 ** max(tries - 1, 0), longest)


def count(connection: Connection, channel: str, outcome: str) -> None:
    """Count one outcome of a notification; the caller's transaction says when."""
    key = counters.CounterKey(counters.NOTIFICATIONS, "", f"{channel}:{outcome}")
    counters.add(connection, {key: 1})


def prune(
    connection: Connection, *, batch: int, now: datetime, unsent: Collection[str] = ()
) -> int:
    """Delete what was settled long enough ago.

    :param unsent: kinds that nobody is set up to send any more: given up.
    """
    gone = _give_up(connection, unsent, batch, now) if unsent else 0
    for kind, stays in ((EVENT, _EVENT_STAYS), (NOTICE, _NOTICE_STAYS)):
        ids = connection.scalars(
            select(messages.c.id)
            .where(
                messages.c.kind == kind,
                messages.c.state.in_(("sent", "failed")),
                messages.c.next_try_at < now - stays,
            )
            .limit(batch)
        ).all()
        if ids:
            connection.execute(delete(messages).where(messages.c.id.in_(ids)))
        gone = max(gone, len(ids))
    return gone


def _give_up(
    connection: Connection, kinds: Collection[str], batch: int, now: datetime
) -> int:
    waiting = and_(messages.c.state == "pending", messages.c.kind.in_(kinds))
    ids = connection.scalars(select(messages.c.id).where(waiting).limit(batch)).all()
    if ids:
        connection.execute(
            update(messages)
            .where(messages.c.id.in_(ids), waiting)
            .values(
                state="failed", error="nothing is set up to send it", settled_at=now
            )
        )
    return len(ids)
