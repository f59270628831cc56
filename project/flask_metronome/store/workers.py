"""Workers' leases: who lives, on which lanes, executing what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, insert, select, update

from flask_metronome.identity import is_gone, process_mark
from flask_metronome.models import workers

#: A worker that has not been heard of for this many leases is dead.
LEASES_UNTIL_DEAD = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerBeat:
    """What a worker's main process says about itself.

    :param active: ids of the tasks that its pool executes.
    :param dropped: records it had to drop since it last said so.
    """

    id: str
    hostname: str
    pid: int
    version: str
    lanes: Sequence[str]
    active: Sequence[str]
    dropped: int = 0


def heartbeat(connection: Connection, beat: WorkerBeat, *, now: datetime) -> None:
    """Write a worker's lease; its first one makes the row."""
    values = {"lanes": list(beat.lanes), "active": list(beat.active)}
    changed = connection.execute(
        update(workers)
        .where(workers.c.id == beat.id)
        .values(
            heartbeat_at=now,
            stopped_at=None,
            dropped=workers.c.dropped + beat.dropped,
            **values,
        )
    )
    if changed.rowcount == 0:
        connection.execute(
            insert(workers).values(
                id=beat.id,
                hostname=beat.hostname[:255],
                pid=beat.pid,
                version=beat.version,
                started_at=now,
                heartbeat_at=now,
                dropped=beat.dropped,
                **values,
            )
        )


def stop(connection: Connection, worker_id: str, *, now: datetime) -> None:
    """Note that a worker ended on purpose."""
    connection.execute(
        update(workers)
        .where(workers.c.id == worker_id, workers.c.stopped_at.is_(None))
        .values(stopped_at=now, heartbeat_at=now, active=[])
    )


def may_run(
    connection: Connection,
    worker_id: str,
    child_pid: int,
    *,
    own_id: str | None,
    lease_seconds: float,
    now: datetime,
) -> bool:
    """Whether an attempt of that worker and pool process may still be running.

    ``False`` is certain: the worker said goodbye, let its lease run out, or
    the kernel of this very machine knows its process no more.

    :param own_id: the asking worker's id.
    """
    row = connection.execute(
        select(workers.c.pid, workers.c.heartbeat_at, workers.c.stopped_at).where(
            workers.c.id == worker_id
        )
    ).one_or_none()
    if row is None:
        # younger than its first lease; only this machine's kernel can tell
        return worker_id == own_id and process_mark(child_pid) is not None
    if row.stopped_at is not None:
        return False
    if now - row.heartbeat_at > timedelta(seconds=LEASES_UNTIL_DEAD * lease_seconds):
        return False
    gone = is_gone(worker_id, row.pid)
    if gone is None:
        return True
    return not gone and process_mark(child_pid) is not None
