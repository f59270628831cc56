"""Messages that no queue holds any more: their runs are published again.

A run that no worker started is put back into the outbox when its message is
surely gone: its lane is served, the lane's workers were idle at a heartbeat
long after the publish, nothing of that lane is at work, and two looks at
different heartbeats agree. A backlog never looks like that, and a lane without
a worker waits. If the message was there after all, the claim dedupes it. (A
message whose receiver died is redelivered by the broker; this is for a broker
that lost it, and for a worker that died when it had acknowledged early and not
yet claimed.) So it is with a run that waits for its retry. A worker that had to
give a message up, for it could not claim its run, says so itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    ScalarSelect,
    and_,
    case,
    exists,
    func,
    or_,
    select,
    update,
)

from flask_metronome.core.run import AttemptState, RunState
from flask_metronome.models import attempts, runs
from flask_metronome.store import counters
from flask_metronome.store.sightings import OUT_OF_HANDS, LossRules, Sightings, Workers
from flask_metronome.store.upserts import rows_changed

#: Published or received: the broker or a worker should have the message.
_ON_THE_WAY = (RunState.PUBLISHED.value, RunState.RECEIVED.value)
#: A message of it should be there, or have come.
_EXPECTED = (*_ON_THE_WAY, RunState.RETRYING.value)
#: A message may lie unreceived in an idle lane for this long, doubled with
#: each time it was published again.
UNRECEIVED_SECONDS = 60.0
_MOST_DOUBLINGS = 6


def return_unreceived(
    connection: Connection,
    *,
    batch: int,
    now: datetime,
    rules: LossRules,
    sightings: Sightings,
) -> int:
    """Put runs whose message is gone back into the outbox; how many."""
    live = Workers.read(connection, rules.alive_since(now))
    gone = _gone(connection, live, sightings, batch, now)
    return _to_the_outbox(connection, gone, now)


def _gone(
    connection: Connection,
    live: Workers,
    sightings: Sightings,
    batch: int,
    now: datetime,
) -> list[str]:
    """Runs on the way whose lane is served, idle and quiet: see the module."""
    quiet_since = now - timedelta(seconds=UNRECEIVED_SECONDS)
    rows = connection.execute(
        select(runs.c.id, runs.c.lane, _MOVED_AT.label("moved_at"))
        .where(or_(_is_on_the_way(quiet_since), _waits_for_its_retry(quiet_since)))
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


def take_back(
    connection: Connection, run_id: str, *, retries: int, now: datetime
) -> bool:
    """Have a run published again whose message a worker gave up; whether it is.

    Of one that was begun before, ``on_lost`` decides, as the claim would have: nobody
    else looks after it.

    :param retries: the message's own count.
    """
    mine = runs.c.id == run_id
    begun = and_(_was_begun(), runs.c.retries <= retries)
    connection.execute(
        update(runs)
        .where(mine, begun, runs.c.on_lost != "rerun")
        .values(
            state=RunState.LOST,
            reason=func.coalesce(_lost(attempts.c.lost_cause), "replacement_failed"),
            live_key=None,
            finished_at=now,
            error_type="Lost",
            error="It was lost, and the database was away when its message came back.",
            updated_at=now,
        )
    )
    waits = and_(runs.c.state == RunState.RETRYING, runs.c.retries == retries)
    changed = connection.execute(
        update(runs)
        .where(mine, or_(runs.c.state.in_(_ON_THE_WAY), waits, begun))
        .values(_in_the_outbox(now))
    )
    return bool(rows_changed(changed))


def _was_begun() -> ColumnElement[bool]:
    """Of a run: its attempt is lost, or has handed it on to another task."""
    is_lost = _lost(attempts.c.id).is_not(None)
    handed_on = and_(runs.c.state == RunState.RETRYING, runs.c.reason == "replaced")
    return or_(and_(runs.c.state == RunState.STARTED, is_lost), handed_on)


def _lost(column: Column[Any]) -> ScalarSelect[Any]:
    """Of a run: what is noted about its attempt, if that is lost."""
    chosen = select(column).where(
        attempts.c.task_id == runs.c.id,
        attempts.c.fence == runs.c.fence,
        attempts.c.state == AttemptState.LOST,
    )
    return chosen.correlate(runs).scalar_subquery()


_MOVED_AT = case(
    (runs.c.state == RunState.RETRYING, runs.c.updated_at),
    else_=func.coalesce(runs.c.received_at, runs.c.published_at),
)


def _is_on_the_way(quiet_since: datetime) -> ColumnElement[bool]:
    return and_(
        runs.c.state.in_(_ON_THE_WAY),
        runs.c.published_at < quiet_since,
        or_(runs.c.received_at.is_(None), runs.c.received_at < quiet_since),
    )


def _waits_for_its_retry(quiet_since: datetime) -> ColumnElement[bool]:
    """Of a run whose body asked for one; not one that another task took over."""
    asked = exists().where(
        attempts.c.task_id == runs.c.id,
        attempts.c.fence == runs.c.fence,
        attempts.c.state == AttemptState.RETRIED,
    )
    return and_(
        runs.c.state == RunState.RETRYING,
        runs.c.updated_at < quiet_since,
        or_(runs.c.retry_at.is_(None), runs.c.retry_at < quiet_since),
        asked,
    )


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
        .where(runs.c.id.in_(list(ids)), runs.c.state.in_(_EXPECTED))
        .with_for_update(skip_locked=True)
    ).all()
    sums: counters.Sums = Counter()
    for row in rows:
        sums[counters.CounterKey(counters.REPUBLISHED, row.schedule_key, "")] += 1
    connection.execute(
        update(runs)
        .where(runs.c.id.in_([row.id for row in rows]), runs.c.state.in_(_EXPECTED))
        .values(_in_the_outbox(now))
    )
    counters.add(connection, sums)
    return len(rows)


def _in_the_outbox(now: datetime) -> dict[str, Any]:
    return {
        "state": RunState.PLANNED,
        "received_at": None,
        "retry_at": None,
        **OUT_OF_HANDS,
        "publish_after": now,
        "updated_at": now,
    }
