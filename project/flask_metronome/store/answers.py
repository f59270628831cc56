"""What was answered to a request with an ``Idempotency-Key``, for a day."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, select, update

from flask_metronome.errors import Conflict, InputInvalid
from flask_metronome.models import answers
from flask_metronome.store.upserts import insert_new, rows_changed

KEPT = timedelta(days=1)
#: Who has not answered by then died over it: the next one may try again.
LONGEST = timedelta(seconds=60)


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """An answer as it was given."""

    status: int
    headers: Mapping[str, str]
    body: str


def claim(
    connection: Connection, request_id: str, fingerprint: str, *, now: datetime
) -> Answer | None:
    """Begin to answer a request, unless it was answered already.

    :param request_id: of the path and the key.
    :param fingerprint: of the body.
    :returns: the answer that was given; ``None``: give one, then :func:`keep` it.
    :raises InputInvalid: the key came with another body before.
    :raises Conflict: the same request is being answered right now.
    """
    connection.execute(delete(answers).where(answers.c.at < now - KEPT))
    fresh = {"id": request_id, "fingerprint": fingerprint, "at": now}
    if insert_new(connection, answers, fresh):
        return None
    found = connection.execute(select(answers).where(answers.c.id == request_id)).one()
    if found.fingerprint != fingerprint:
        expected = "a key that did not come with another body before"
        raise InputInvalid("Idempotency-Key", expected, "one that did")
    if found.status is not None:
        return Answer(status=found.status, headers=found.headers, body=found.body)
    again = (
        update(answers)
        .where(answers.c.id == request_id, answers.c.at == found.at)
        .values(at=now)
    )
    if found.at < now - LONGEST and rows_changed(connection.execute(again)):
        return None
    raise Conflict("A request with this Idempotency-Key is being answered right now.")


def keep(connection: Connection, request_id: str, answer: Answer) -> None:
    """Keep what was answered."""
    connection.execute(
        update(answers)
        .where(answers.c.id == request_id)
        .values(status=answer.status, headers=dict(answer.headers), body=answer.body)
    )


def forget(connection: Connection, request_id: str) -> None:
    """It came to nothing: the key may be used again."""
    connection.execute(delete(answers).where(answers.c.id == request_id))
