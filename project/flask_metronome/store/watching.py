"""What the monitor does about incidents beside judging runs: stuck runs, lanes
without workers, incidents that are over, and who must be told."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, case, func, or_, select, update

from flask_metronome.core.incident import (
    IncidentState,
    Kind,
    Standing,
    Thresholds,
    flipped,
    is_good,
    is_quiet,
)
from flask_metronome.core.run import RunState
from flask_metronome.models import incidents, runs, schedules, standings
from flask_metronome.store import incidents as incident_store
from flask_metronome.store import mutes, standing_rows
from flask_metronome.store.incidents import (
    BROKEN,
    HAPPENED_CHARACTERS,
    IS_OPEN,
    RUNS,
    STUCK,
    Incident,
    Opening,
)
from flask_metronome.store.sightings import Workers
from flask_metronome.store.telling import Telling

#: Late runs lie in a lane for this long without a worker before somebody is told:
#: what was due long ago may have come there only now.
LANE_SECONDS = 60.0
_OVER = {"paused": "paused", "retired": "retired"}


def judge_stuck(
    connection: Connection, *, batch: int, now: datetime, telling: Telling
) -> int:
    """Open an incident for each schedule with a stuck run; close what is over."""
    rows = connection.execute(
        select(
            runs.c.schedule_id,
            func.min(runs.c.due_at).label("since"),
            func.max(runs.c.due_at).label("last"),
            func.min(runs.c.id).label("run"),
            func.count().label("stuck"),
        )
        .where(runs.c.state == RunState.STARTED, runs.c.stuck)
        .group_by(runs.c.schedule_id)
    ).all()
    stuck = {row.schedule_id: row for row in rows}
    there = _open_of_kind(connection, Kind.STUCK)
    over = [found for found in there if found["schedule_id"] not in stuck]
    for incident in over:
        incident_store.close(connection, incident, telling, now, reason="good")
    known = {found["schedule_id"] for found in there}
    fresh = [schedule for schedule in stuck if schedule not in known]
    openings = [
        _stuck(schedule, stuck[schedule.id])
        for schedule in standing_rows.watched(connection, fresh).values()
    ]
    standings = standing_rows.read(connection, fresh)
    incident_store.open_all(connection, openings, standings, telling, now)
    return len(openings) + len(over)


def _stuck(schedule: standing_rows.Watched, row: Any) -> Opening:
    return Opening(
        schedule=schedule,
        rule=STUCK,
        kind=Kind.STUCK,
        happened="it runs far longer than its longest runtime, and its worker lives",
        since=row.since,
        count=row.stuck,
        last_due_at=row.last,
        first_run=row.run,
        last_run=row.run,
    )


def judge_broken(
    connection: Connection, *, batch: int, now: datetime, telling: Telling
) -> int:
    """Open an incident for each schedule that was set aside; close what is mended.

    Nothing of it is planned any more, so nothing else would ever tell of it.
    """
    rows = connection.execute(
        select(
            schedules.c.id,
            schedules.c.error,
            schedules.c.error_at,
        ).where(schedules.c.state == "broken")
    ).all()
    broken = {row.id: row for row in rows}
    there = connection.execute(
        select(incidents).where(IS_OPEN, incidents.c.open_key.endswith(f":{BROKEN}"))
    )
    known = {row.schedule_id: dict(row._mapping) for row in there}
    mended = known.keys() - broken.keys()
    resting = _resting_ones(connection, mended) if mended else frozenset()
    # one that was removed is closed as such
    over = [known[schedule] for schedule in sorted(mended - resting)]
    for incident in over:
        incident_store.close(connection, incident, telling, now, reason="good")
    fresh = sorted(broken.keys() - known.keys())[:batch]
    openings = [
        _broken(schedule, broken[schedule.id], now)
        for schedule in standing_rows.watched(connection, fresh).values()
    ]
    standings = standing_rows.read(connection, fresh)
    incident_store.open_all(connection, openings, standings, telling, now)
    return len(openings) + len(over)


def _resting_ones(connection: Connection, ids: Iterable[str]) -> frozenset[str]:
    """Those of the schedules that are paused or removed."""
    is_over = schedules.c.state.in_(list(_OVER))
    chosen = select(schedules.c.id).where(schedules.c.id.in_(list(ids)), is_over)
    return frozenset(connection.scalars(chosen))


def _broken(schedule: standing_rows.Watched, row: Any, now: datetime) -> Opening:
    return Opening(
        schedule=schedule,
        rule=BROKEN,
        kind=Kind.MISSED,
        happened=f"it cannot be planned: {row.error}"[:HAPPENED_CHARACTERS],
        since=row.error_at or now,
    )


def judge_lanes(
    connection: Connection,
    *,
    now: datetime,
    telling: Telling,
    alive_since: datetime,
) -> int:
    """Open an incident for each lane whose late runs no worker could take."""
    waited = now - timedelta(seconds=LANE_SECONDS)
    rows = connection.execute(
        select(
            runs.c.lane,
            func.min(runs.c.fires_at).label("since"),
            func.max(runs.c.due_at).label("last"),
            func.count().label("waiting"),
            func.count(runs.c.schedule_id.distinct()).label("schedules"),
            func.max(standings.c.last_good_at).label("last_good_at"),
        )
        .outerjoin(standings, standings.c.schedule_id == runs.c.schedule_id)
        .where(
            runs.c.state.in_((RunState.PUBLISHED, RunState.RECEIVED)),
            runs.c.late,
            func.coalesce(runs.c.published_at, runs.c.fires_at) < waited,
        )
        .group_by(runs.c.lane)
    ).all()
    workers = Workers.read(connection, alive_since) if rows else None
    unserved = [row for row in rows if workers and not workers.serving(row.lane)]
    for row in unserved:
        _open_lane(connection, row, telling, now)
    open_lanes = _lanes_over(connection, {row.lane for row in unserved})
    for incident in open_lanes:
        incident_store.close(connection, incident, telling, now, reason="good")
    return len(unserved) + len(open_lanes)


def _open_lane(
    connection: Connection, row: Any, telling: Telling, now: datetime
) -> None:
    """Open the incident of a lane, or say how it goes on."""
    happened = f"{row.waiting} of its runs wait, and no worker takes them"
    lane = incident_store.open_group(
        connection,
        f"lane:{row.lane}",
        telling,
        now,
        bad_since=row.since,
        bad_count=row.schedules,
        happened=happened,
        last_good_at=row.last_good_at,
        last_due_at=row.last,
    )
    more = incidents.c.bad_count < row.schedules
    connection.execute(
        update(incidents)
        .where(incidents.c.id == lane, incidents.c.happened != happened)
        .values(
            happened=happened,
            last_due_at=row.last,
            bad_count=case((more, row.schedules), else_=incidents.c.bad_count),
        )
    )


def _lanes_over(connection: Connection, unserved: Iterable[str]) -> list[Incident]:
    """Open incidents of lanes that are served again and have no part open."""
    return [
        found
        for found in _empty_groups(connection)
        if str(found["cause"]).startswith("lane:") and found["lane"] not in unserved
    ]


def close_over(
    connection: Connection, *, batch: int, now: datetime, telling: Telling
) -> int:
    """Close what is over though no run says so; how many.

    Incidents of paused and retired schedules, damped ones after a quiet hour,
    and those of many once all their parts are closed.
    """
    closed = 0
    for incident, reason in _resting(connection, batch):
        closed += incident_store.close(
            connection, incident, telling, now, reason=reason
        )
    good = _quiet(connection, batch, now) + [
        group
        for group in _empty_groups(connection)
        if not str(group["cause"]).startswith("lane:")
    ]
    for incident in good:
        closed += incident_store.close(
            connection, incident, telling, now, reason="good"
        )
    return closed


def _resting(connection: Connection, batch: int) -> list[tuple[Incident, str]]:
    rows = connection.execute(
        select(incidents, schedules.c.state.label("schedule_state"))
        .join(schedules, schedules.c.id == incidents.c.schedule_id)
        .where(
            IS_OPEN,
            schedules.c.state.in_(list(_OVER)),
        )
        .limit(batch)
    ).all()
    return [(dict(row._mapping), _OVER[row.schedule_state]) for row in rows]


def _quiet(connection: Connection, batch: int, now: datetime) -> list[Incident]:
    rows = connection.execute(
        select(incidents)
        .where(
            IS_OPEN,
            incidents.c.damped_at.is_not(None),
        )
        .limit(batch)
    ).all()
    damped = [dict(row._mapping) for row in rows if row.open_key.endswith(f":{RUNS}")]
    ids = [found["schedule_id"] for found in damped]
    standings = standing_rows.read(connection, ids)
    watched = standing_rows.watched(connection, ids)
    over: list[Incident] = []
    for found in damped:
        standing = standings.get(found["schedule_id"], Standing())
        schedule = watched.get(found["schedule_id"])
        thresholds = schedule.thresholds if schedule else Thresholds()
        if is_good(standing, thresholds) and is_quiet(standing, now):
            over.append(found)
            changed = {found["schedule_id"]: flipped(standing, now)}
            standing_rows.write(connection, changed)
    return over


def _empty_groups(connection: Connection) -> list[Incident]:
    part = incidents.alias("part")
    parts = (
        select(part.c.id)
        .where(part.c.part_of == incidents.c.id, part.c.open_key.is_not(None))
        .exists()
    )
    rows = connection.execute(
        select(incidents).where(
            IS_OPEN,
            incidents.c.schedule_id.is_(None),
            ~parts,
        )
    )
    return [dict(row._mapping) for row in rows]


def _open_of_kind(connection: Connection, kind: Kind) -> list[Incident]:
    rows = connection.execute(
        select(incidents).where(IS_OPEN, incidents.c.kind == kind)
    )
    return [dict(row._mapping) for row in rows]


def notify(
    connection: Connection,
    *,
    batch: int,
    now: datetime,
    telling: Telling,
    delay_seconds: float,
    again_seconds: float,
) -> int:
    """Tell of open incidents that nobody was told of, or not lately; how many.

    One that many schedules may suffer from waits a moment: it may become part
    of another, and that one is told of.
    """
    if not telling.channels:
        return 0
    found = _untold(connection, batch, now, delay_seconds, again_seconds)
    told = 0
    for incident in found:
        muted = mutes.hold(connection, incident, now)
        if muted != incident["muted"]:
            _set(connection, incident["id"], muted=muted)
        if muted:
            continue
        turn = incident["notices"]
        what = "reminder" if turn else "opened"
        telling.notice(connection, incident, what, now, turn=turn)
        _set(connection, incident["id"], notified_at=now, notices=turn + 1)
        told += 1
    return told


def _untold(
    connection: Connection,
    batch: int,
    now: datetime,
    delay_seconds: float,
    again_seconds: float,
) -> Sequence[Incident]:
    waited = now - timedelta(seconds=delay_seconds)
    again = now - timedelta(seconds=again_seconds)
    rows = connection.execute(
        select(incidents)
        .where(
            incidents.c.state == IncidentState.OPEN,
            incidents.c.part_of.is_(None),
            or_(
                incidents.c.notified_at.is_(None)
                & or_(
                    incidents.c.cause.is_(None),
                    incidents.c.schedule_id.is_(None),
                    incidents.c.opened_at <= waited,
                ),
                incidents.c.notified_at <= again,
            ),
            or_(incidents.c.damped_at.is_(None), incidents.c.notified_at.is_(None)),
        )
        .order_by(incidents.c.opened_at)
        .limit(batch)
    ).all()
    return [dict(row._mapping) for row in rows]


def _set(connection: Connection, incident_id: str, **values: Any) -> None:
    connection.execute(
        update(incidents).where(incidents.c.id == incident_id).values(**values)
    )
