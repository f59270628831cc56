"""Who changed what."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert

from flask_metronome.models import audit


def note(
    connection: Connection,
    *,
    now: datetime,
    who: str,
    action: str,
    subject: str,
    detail: Mapping[str, Any] | None = None,
) -> None:
    """Write one line of the audit, in the transaction of the change itself."""
    connection.execute(
        insert(audit).values(
            at=now,
            who=who[:190],
            action=action,
            subject=subject[:190],
            detail=dict(detail) if detail is not None else None,
        )
    )
