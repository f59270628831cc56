"""Fenced leases: one process at a time does a chore, and can prove it.

A lease that changes hands gets a higher epoch. :func:`hold` is the fence: it
locks the lease's row inside the chore's own transaction, so a holder that
slept past its time changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, or_, select, update

from flask_metronome.models import leases
from flask_metronome.store.upserts import insert_new, rows_changed


@dataclass(frozen=True, kw_only=True, slots=True)
class Lease:
    """What this process holds.

    :param previously_touched_at: when any holder last did; ``None``: never.
    """

    name: str
    holder: str
    epoch: int
    previously_touched_at: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class LeaseRow:
    """A lease as it stands in the database, whoever holds it."""

    holder: str
    epoch: int
    expires_at: datetime
    touched_at: datetime


class LeaseLost(Exception):
    """Somebody else holds the lease now; what was begun must not be committed."""


def read(connection: Connection, name: str) -> LeaseRow | None:
    """The lease as it stands, or ``None`` if nobody ever took it."""
    row = connection.execute(
        select(
            leases.c.holder, leases.c.epoch, leases.c.expires_at, leases.c.touched_at
        ).where(leases.c.name == name)
    ).one_or_none()
    return None if row is None else LeaseRow(**row._mapping)


def acquire(
    connection: Connection,
    name: str,
    *,
    holder: str,
    ttl_seconds: float,
    now: datetime,
) -> Lease | None:
    """Take, keep or take over the lease; ``None`` while somebody else holds it."""
    found = read(connection, name)
    values = _until(now, ttl_seconds)
    if found is None:
        fresh = {"name": name, "holder": holder, "epoch": 1, **values}
        if not insert_new(connection, leases, fresh):
            return None
        return Lease(name=name, holder=holder, epoch=1, previously_touched_at=None)
    epoch = found.epoch if found.holder == holder else found.epoch + 1
    taken = connection.execute(
        update(leases)
        .where(
            leases.c.name == name,
            leases.c.epoch == found.epoch,
            leases.c.holder == found.holder,
            or_(leases.c.holder == holder, leases.c.expires_at <= now),
        )
        .values(holder=holder, epoch=epoch, **values)
    )
    if rows_changed(taken) == 0:
        return None
    return Lease(
        name=name,
        holder=holder,
        epoch=epoch,
        previously_touched_at=found.touched_at,
    )


def hold(
    connection: Connection, lease: Lease, *, ttl_seconds: float, now: datetime
) -> None:
    """Lock the lease for this transaction and extend it.

    :raises LeaseLost: when another holder or a higher epoch is there.
    """
    held = connection.execute(
        update(leases)
        .where(
            leases.c.name == lease.name,
            leases.c.holder == lease.holder,
            leases.c.epoch == lease.epoch,
        )
        .values(**_until(now, ttl_seconds))
    )
    if rows_changed(held) == 0:
        raise LeaseLost(lease.name)


def release(connection: Connection, lease: Lease, *, now: datetime) -> bool:
    """Give the lease back, so that nobody waits for it to run out."""
    given = connection.execute(
        update(leases)
        .where(
            leases.c.name == lease.name,
            leases.c.holder == lease.holder,
            leases.c.epoch == lease.epoch,
        )
        .values(expires_at=now)
    )
    return rows_changed(given) > 0


def put(
    connection: Connection, name: str, *, holder: str, now: datetime, until: datetime
) -> None:
    """Write a lease without asking who held it: for periods, not for elections."""
    changed = connection.execute(
        update(leases)
        .where(leases.c.name == name)
        .values(holder=holder, touched_at=now, expires_at=until)
    )
    if rows_changed(changed) == 0:
        fresh = {"name": name, "holder": holder, "epoch": 1}
        insert_new(
            connection, leases, {**fresh, "touched_at": now, "expires_at": until}
        )


def _until(now: datetime, ttl_seconds: float) -> dict[str, Any]:
    return {"touched_at": now, "expires_at": now + timedelta(seconds=ttl_seconds)}
