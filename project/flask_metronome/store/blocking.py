"""What stood in the way of the due times that were left out for an overlap.

Only a run that goes on or waits for its turn among others blocks a schedule. One
that is not with the broker is missed, and one in a lane that no worker serves is
the lane's trouble: somebody tells of both already.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from flask_metronome.core.run import LIVE, OPEN, RunState
from flask_metronome.models import runs
from flask_metronome.store.sightings import Workers

_GOES_ON = "the run before was still going"
_WAITS = "the run before waits for a worker"


def in_the_way(
    connection: Connection,
    blocked: Sequence[Mapping[str, Any]],
    *,
    alive_since: datetime,
) -> dict[str, str | None]:
    """Concurrency key → what blocks it, in words; ``None``: others tell of it.

    :param blocked: rows of runs that were skipped for an overlap.
    :param alive_since: a worker whose heartbeat is older is dead.
    """
    keys = {row["concurrency_key"] for row in blocked}
    if not keys:
        return {}
    found = connection.execute(
        select(
            runs.c.concurrency_key,
            runs.c.state,
            runs.c.lane,
            runs.c.attempts,
        ).where(
            runs.c.concurrency_key.in_(keys),
            runs.c.state.in_(sorted(OPEN - {RunState.WAITING})),
        )
    ).all()
    workers = Workers.read(connection, alive_since)
    return {
        key: _said([row for row in found if row.concurrency_key == key], workers)
        for key in keys
    }


def _said(there: Sequence[Any], workers: Workers) -> str | None:
    begun = any(run.state in LIVE or run.attempts for run in there)
    if begun or not there:
        # none is there: it has ended since
        return _GOES_ON
    sent = [run for run in there if run.state != RunState.PLANNED]
    return _WAITS if any(workers.serving(run.lane) for run in sent) else None
