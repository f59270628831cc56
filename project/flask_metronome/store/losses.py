"""Attempts that will never report, and messages that no queue holds any more.

Lost: the worker's lease ran out, or the worker lives and two heartbeats in a
row do not list the attempt. What becomes of the run is its ``on_lost`` policy.

Published again: a run that no worker started is put back into the outbox when
its message is surely gone: its lane is served, the lane's workers were idle at
a heartbeat long after the publish, nothing of that lane is at work, and two
looks at different heartbeats agree. A backlog never looks like that, and a
lane without a worker waits. If the message was there after all, the claim
dedupes it. (A message whose receiver died is redelivered by the broker; this
is for a broker that lost it.)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, and_, func, or_, select, update

from flask_metronome.core.ending import LostCause
from flask_metronome.core.run import AttemptState, RunState
from flask_metronome.models import attempts, runs, workers
from flask_metronome.store import counters
from flask_metronome.store.upserts import rows_changed

#: Published or received: the broker or a worker should have the message.
_ON_THE_WAY = (RunState.PUBLISHED.value, RunState.RECEIVED.value)
#: A lease is over after so many missed heartbeats.
LEASES = 3
#: A message may lie unreceived in an idle lane for this long, doubled with
#: each time it was published again.
UNRECEIVED_SECONDS = 60.0
_MOST_DOUBLINGS = 6


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


def mark_lost(
    connection: Connection,
    *,
    batch: int,
    now: datetime,
    rules: LossRules,
    sightings: Sightings,
) -> int:
    """Close attempts that will never report, and decide their runs; how many."""
    running = connection.execute(
        select(
            attempts.c.id,
            attempts.c.run_id,
            attempts.c.task_id,
            attempts.c.worker,
            attempts.c.worker_id,
            attempts.c.started_at,
            attempts.c.fence,
        ).where(attempts.c.state == AttemptState.RUNNING)
    ).all()
    live = _Workers.read(connection, rules.alive_since(now))
    _forget_ended(sightings, {row.id for row in running})
    lost = 0
    for row in running:
        cause = _cause_of_loss(row, live, rules, sightings, now)
        if cause is not None and lost < batch:
            lost += _lose(connection, row, cause, rules, now)
    return lost


def return_unreceived(
    connection: Connection,
    *,
    batch: int,
    now: datetime,
    rules: LossRules,
    sightings: Sightings,
) -> int:
    """Put runs whose message is gone back into the outbox; how many."""
    live = _Workers.read(connection, rules.alive_since(now))
    gone = _gone(connection, live, sightings, batch, now)
    return _to_the_outbox(connection, gone, now)


# -- attempts ------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class _Workers:
    """The workers' rows: the live ones, and the newest of each host name."""

    by_id: dict[str, Any]
    newest: dict[str, Any]
    alive_since: datetime

    @classmethod
    def read(cls, connection: Connection, alive_since: datetime) -> _Workers:
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


def _cause_of_loss(
    row: Any, live: _Workers, rules: LossRules, sightings: Sightings, now: datetime
) -> LostCause | None:
    """Why an attempt is lost, or ``None`` while it may still report."""
    worker = live.of(row.worker_id, row.worker)
    if worker is None:
        return LostCause.WORKER_DEAD if row.started_at < live.alive_since else None
    if worker.stopped_at is not None:
        # a warm shutdown writes its last attempts before or just after this
        ended = now - worker.stopped_at > timedelta(seconds=rules.lease_seconds)
        return LostCause.WORKER_DEAD if ended else None
    if not live.is_alive(worker):
        # the start of an attempt is a sign of life as good as a heartbeat
        return LostCause.WORKER_DEAD if row.started_at < live.alive_since else None
    return _vanished(row, worker, sightings)


def _vanished(row: Any, worker: Any, sightings: Sightings) -> LostCause | None:
    if row.task_id in worker.active or worker.heartbeat_at <= row.started_at:
        sightings.unlisted.pop(row.id, None)
        return None
    first = sightings.unlisted.setdefault(row.id, worker.heartbeat_at)
    return LostCause.VANISHED if worker.heartbeat_at > first else None


def _forget_ended(sightings: Sightings, running: set[int]) -> None:
    for attempt_id in sightings.unlisted.keys() - running:
        del sightings.unlisted[attempt_id]


def _lose(
    connection: Connection, row: Any, cause: LostCause, rules: LossRules, now: datetime
) -> int:
    said = f"The worker {row.worker} {_SAID[cause]}."
    # the run's row first, as the workers do: nobody waits crosswise
    connection.execute(
        select(runs.c.id).where(runs.c.id == row.run_id).with_for_update()
    )
    closed = connection.execute(
        update(attempts)
        .where(attempts.c.id == row.id, attempts.c.state == AttemptState.RUNNING)
        .values(
            state=AttemptState.LOST,
            lost_cause=cause,
            ended_at=now,
            error_type="Lost",
            error=said,
        )
    )
    if rows_changed(closed) == 0:
        return 0
    if row.run_id is not None:
        _decide_lost_run(connection, row, said, rules, now)
    return 1


_SAID = {
    LostCause.WORKER_DEAD: "gave no sign of life for three leases",
    LostCause.VANISHED: "lives but does not execute it, and never reported its end",
}


def _decide_lost_run(
    connection: Connection, row: Any, said: str, rules: LossRules, now: datetime
) -> None:
    """``rerun`` puts the run back into the outbox, ``fail`` ends it as lost."""
    mine = and_(
        runs.c.id == row.run_id,
        runs.c.state == RunState.STARTED,
        runs.c.fence == row.fence,
    )
    again = connection.execute(
        update(runs)
        .where(mine, runs.c.on_lost == "rerun", runs.c.attempts < rules.most_attempts)
        .values(
            state=RunState.PLANNED,
            worker=None,
            **_OUT_OF_HANDS,
            publish_after=now,
            updated_at=now,
        )
    )
    if rows_changed(again) == 0:
        connection.execute(
            update(runs)
            .where(mine)
            .values(
                state=RunState.LOST,
                live_key=None,
                finished_at=now,
                error_type="Lost",
                error=said,
                updated_at=now,
            )
        )


_OUT_OF_HANDS: dict[str, Any] = {
    "live_key": None,
    "publish_owner": None,
    "publish_until": None,
}


# -- messages ------------------------------------------------------------------


def _gone(
    connection: Connection,
    live: _Workers,
    sightings: Sightings,
    batch: int,
    now: datetime,
) -> list[str]:
    """Runs on the way whose lane is served, idle and quiet: see the module."""
    quiet_since = now - timedelta(seconds=UNRECEIVED_SECONDS)
    rows = connection.execute(
        select(
            runs.c.id,
            runs.c.lane,
            func.coalesce(runs.c.received_at, runs.c.published_at).label("moved_at"),
        )
        .where(
            runs.c.state.in_(_ON_THE_WAY),
            runs.c.published_at < quiet_since,
            or_(runs.c.received_at.is_(None), runs.c.received_at < quiet_since),
        )
        .order_by(runs.c.due_at)
        .limit(batch)
    ).all()
    lanes = {row.lane for row in rows}
    idle = {
        lane: moment
        for lane in lanes - _busy_lanes(connection, lanes, quiet_since)
        if (moment := _idle_since(live.serving(lane))) is not None
    }
    seen = {
        row.id: idle[row.lane]
        for row in rows
        if row.lane in idle and idle[row.lane] > _patience_ends(row, sightings)
    }
    twice = [
        run_id
        for run_id, moment in seen.items()
        if moment > sightings.unreceived.get(run_id, moment)
    ]
    sightings.unreceived = {
        run_id: sightings.unreceived.get(run_id, moment)
        for run_id, moment in seen.items()
        if run_id not in twice
    }
    sightings.returned.update(twice)
    return twice


def _patience_ends(row: Any, sightings: Sightings) -> datetime:
    doublings = min(sightings.returned[row.id], _MOST_DOUBLINGS)
    moved_at: datetime = row.moved_at
    return moved_at + timedelta(seconds=UNRECEIVED_SECONDS * 2**doublings)


def _busy_lanes(
    connection: Connection, lanes: Iterable[str], quiet_since: datetime
) -> set[str]:
    """Lanes whose workers took something up lately or are at it."""
    if not lanes:
        return set()
    just_received = and_(
        runs.c.state == RunState.RECEIVED, runs.c.received_at >= quiet_since
    )
    found = connection.scalars(
        select(runs.c.lane)
        .where(
            or_(runs.c.state == RunState.STARTED, just_received),
            runs.c.lane.in_(list(lanes)),
        )
        .distinct()
    )
    return set(found)


def _idle_since(serving: Sequence[Any]) -> datetime | None:
    """The oldest heartbeat of a lane's workers, if none of them was at work."""
    if not serving or any(row.active for row in serving):
        return None
    oldest: datetime = min(row.heartbeat_at for row in serving)
    return oldest


def _to_the_outbox(connection: Connection, ids: Sequence[str], now: datetime) -> int:
    if not ids:
        return 0
    rows = connection.execute(
        select(runs.c.id, runs.c.schedule_key)
        .where(runs.c.id.in_(list(ids)), runs.c.state.in_(_ON_THE_WAY))
        .with_for_update(skip_locked=True)
    ).all()
    sums: counters.Sums = Counter()
    for row in rows:
        sums[counters.CounterKey(counters.REPUBLISHED, row.schedule_key, "")] += 1
    connection.execute(
        update(runs)
        .where(runs.c.id.in_([row.id for row in rows]), runs.c.state.in_(_ON_THE_WAY))
        .values(
            state=RunState.PLANNED,
            received_at=None,
            **_OUT_OF_HANDS,
            publish_after=now,
            updated_at=now,
        )
    )
    counters.add(connection, sums)
    return len(rows)
