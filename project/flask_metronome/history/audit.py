"""Reads of the audit: who changed what, newest first."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from flask_metronome.history.cursor import USUAL, mark_of, read_cursor, write_cursor
from flask_metronome.history.values import AuditLine, Slice, names_of
from flask_metronome.models import audit, schedules

_COLUMNS = [
    schedules.c.task if name == "task" else audit.c[name]
    for name in names_of(AuditLine)
]


async def list_audit(
    connection: AsyncConnection,
    *,
    subject: str | None = None,
    limit: int = USUAL,
    cursor: str | None = None,
) -> Slice[AuditLine]:
    """The lines of the audit, of one subject or of all.

    :raises InputInvalid: naming ``cursor``, when it is not of this list.
    """
    mark = mark_of("audit", subject)
    statement = select(*_COLUMNS).join_from(
        audit, schedules, schedules.c.key == audit.c.subject, isouter=True
    )
    if subject is not None:
        statement = statement.where(audit.c.subject == subject)
    if cursor:
        statement = statement.where(audit.c.id < read_cursor(mark, cursor, (int,))[0])
    statement = statement.order_by(audit.c.id.desc()).limit(limit + 1)
    rows = (await connection.execute(statement)).mappings()
    found = [AuditLine(**row) for row in rows]
    following = None
    if len(found) > limit:
        following = write_cursor(mark, (found[limit - 1].id,))
    return Slice(items=tuple(found[:limit]), next_cursor=following)
