"""Workers' leases: who lives, on which lanes, executing what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, insert, select, update

from flask_metronome.identity import is_gone, is_of_this_machine, process_mark
from flask_metronome.models import workers

#: A worker that has not been heard of for this many leases is dead.
LEASES_UNTIL_DEAD = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerBeat:
    """What a worker's main process says about itself.

    :param active: ids of the tasks that its pool executes.
    :param dropped: records it had to drop since it last said so.
    :param spooled: records that wait in its folder, also those of workers beside it.
    """

    id: str
    hostname: str
    pid: int
    version: str
    lanes: Sequence[str]
    active: Sequence[str]
    dropped: int = 0
    spooled: int = 0


def heartbeat(connection: Connection, beat: WorkerBeat, *, now: datetime) -> None:
    """Write a worker's lease; its first one makes the row."""
    values = {
        "lanes": list(beat.lanes),
        "active": list(beat.active),
        "spooled": beat.spooled,
    }
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


def count_dropped(connection: Connection, worker_id: str, count: int) -> None:
    """Add what a process of that worker had to drop."""
    connection.execute(
        update(workers)
        .where(workers.c.id == worker_id)
        .values(dropped=workers.c.dropped + count)
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
    started_at: datetime,
    lease_seconds: float,
    now: datetime,
) -> bool:
    """Whether an attempt of that worker and pool process may still be running.

    ``False`` is certain: the worker said goodbye, let its lease run out, or
    the kernel of this very machine knows the pool's process no more. One whose
    worker was killed goes on until its body ends, and reports by itself.

    :param started_at: when the attempt began.
    """
    row = connection.execute(
        select(workers.c.pid, workers.c.heartbeat_at, workers.c.stopped_at).where(
            workers.c.id == worker_id
        )
    ).one_or_none()
    # with no row it is younger than its first lease
    heard_at = started_at if row is None else row.heartbeat_at
    if now - heard_at > timedelta(seconds=LEASES_UNTIL_DEAD * lease_seconds):
        return False
    if is_of_this_machine(worker_id):
        if row is not None and child_pid == row.pid:
            return not is_gone(worker_id, row.pid)
        return process_mark(child_pid) is not None
    return row is None or row.stopped_at is None
