"""What the monitor sees of workers, and what it saw once and looks at twice."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, select

from flask_metronome.models import workers

#: A lease is over after so many missed heartbeats.
LEASES = 3
#: A run's columns when nobody holds it: neither a worker nor a publisher.
OUT_OF_HANDS: dict[str, Any] = {
    "live_key": None,
    "publish_owner": None,
    "publish_until": None,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class LossRules:
    """When a worker counts as dead and how often a run is begun again.

    :param lease_seconds: how often a worker's heartbeat comes.
    :param most_attempts: attempts after which ``rerun`` gives up.
    """

    lease_seconds: float
    most_attempts: int

    def alive_since(self, now: datetime) -> datetime:
        """A worker whose heartbeat is older is dead."""
        return now - timedelta(seconds=LEASES * self.lease_seconds)


@dataclass(kw_only=True, slots=True)
class Sightings:
    """What earlier sweeps saw once: only a second look decides.

    It lives in the monitor's memory; a new monitor looks twice itself.
    """

    #: attempt id → the heartbeat that did not list it
    unlisted: dict[int, datetime] = field(default_factory=dict)
    #: run id → the idle heartbeats at which its message was not received
    unreceived: dict[str, datetime] = field(default_factory=dict)
    #: run id → how often it was published again
    returned: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, kw_only=True, slots=True)
class Workers:
    """The workers' rows: the live ones, and the newest of each host name."""

    by_id: dict[str, Any]
    newest: dict[str, Any]
    alive_since: datetime

    @classmethod
    def read(cls, connection: Connection, alive_since: datetime) -> Workers:
        rows = connection.execute(
            select(
                workers.c.id,
                workers.c.hostname,
                workers.c.heartbeat_at,
                workers.c.started_at,
                workers.c.stopped_at,
                workers.c.active,
                workers.c.lanes,
            ).order_by(workers.c.heartbeat_at)
        ).all()
        return cls(
            by_id={row.id: row for row in rows},
            newest={row.hostname: row for row in rows},
            alive_since=alive_since,
        )

    def of(self, worker_id: str | None, hostname: str | None) -> Any:
        if worker_id is not None:
            return self.by_id.get(worker_id)
        return self.newest.get(hostname or "")

    def is_alive(self, row: Any) -> bool:
        return row.stopped_at is None and row.heartbeat_at >= self.alive_since

    def serving(self, lane: str) -> list[Any]:
        rows = self.by_id.values()
        return [row for row in rows if self.is_alive(row) and lane in row.lanes]
