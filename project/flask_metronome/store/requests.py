"""Runs that a person asks for: trigger, rerun, backfill; and cancelling one."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from sqlalchemy import Connection, Row, select, update

from flask_metronome.core.run import OPEN, RunState, run_id
from flask_metronome.core.schedule import Schedule
from flask_metronome.errors import Conflict, NotFound, ScheduleInvalid
from flask_metronome.models import counters as counters_table
from flask_metronome.models import runs, schedules
from flask_metronome.store import audit, counters
from flask_metronome.store import schedules as schedule_store
from flask_metronome.store.dialects import insert_ignore
from flask_metronome.store.promotion import BACKFILL, IN_FLIGHT
from flask_metronome.store.run_rows import base_row
from flask_metronome.store.schedule_rows import load

#: Runs that one backfill makes at the most.
MOST_BACKFILLED = 1000
#: The rate of a backfill that makes one run a day.
SLOWEST_PER_SECOND = 1 / 86_400


def trigger(
    connection: Connection,
    key: str,
    *,
    idempotency_key: str | None,
    who: str,
    now: datetime,
    args: list[Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
) -> str:
    """Run a schedule's task now, once per idempotency key; the run's id.

    It is due now, is not held up by overlap, and does not move the schedule.

    :raises NotFound: when there is no schedule of that key.
    :raises Conflict: when the schedule is retired.
    """
    # locked: of two that ask at once with one key, the second finds the first's run
    schedule = schedule_store.get(connection, key, lock=True)
    if schedule.state == "retired":
        raise Conflict(f"Schedule {key!r} is retired and cannot be triggered.")
    origin = f"manual:{idempotency_key or uuid.uuid4()}"
    _check_origin(origin)
    known = _by_origin(connection, schedule.id, origin)
    if known is not None:
        return str(known.id)
    row = _manual_row(schedule, origin, now)
    if args is not None:
        row["args"] = args
    if kwargs is not None:
        row["kwargs"] = dict(kwargs)
    insert_ignore(connection, runs, [row])
    audit.note(
        connection,
        now=now,
        who=who,
        action="schedule.trigger",
        subject=key,
        detail={"run": row["id"], "origin": origin},
    )
    return str(row["id"])


def rerun(
    connection: Connection,
    run: str,
    *,
    idempotency_key: str | None,
    who: str,
    now: datetime,
) -> str:
    """Run again what an earlier run did, with its arguments; the new run's id.

    :raises NotFound: when there is no such run.
    :raises Conflict: when it has not ended yet.
    """
    old = _run(connection, run)
    if old.state in OPEN:
        raise Conflict(f"Run {run} is {old.state}; only an ended run can be run again.")
    row = connection.execute(
        select(schedules).where(schedules.c.id == old.schedule_id).with_for_update()
    ).one()
    schedule = load(row)
    origin = f"manual:{idempotency_key or uuid.uuid4()}"
    _check_origin(origin)
    known = _by_origin(connection, schedule.id, origin)
    if known is not None:
        return str(known.id)
    fresh = _manual_row(schedule, origin, now) | {
        "args": old.args,
        "kwargs": old.kwargs,
        "task": old.task,
        "lane": old.lane,
    }
    insert_ignore(connection, runs, [fresh])
    audit.note(
        connection,
        now=now,
        who=who,
        action="run.rerun",
        subject=run,
        detail={"run": fresh["id"]},
    )
    return str(fresh["id"])


def backfill(
    connection: Connection,
    key: str,
    *,
    after: datetime,
    until: datetime,
    name: str | None,
    who: str,
    now: datetime,
    rate_per_second: float = 1.0,
    in_flight: int = 10,
) -> int:
    """Make a run for every due time with ``after < t <= until``; how many are new.

    The schedule itself is not moved; the same name asks for the same runs.

    :param rate_per_second: how fast they are released to the broker, at most.
    :param in_flight: how many of them are under way at once, at most.
    :raises ScheduleInvalid: the range lies in the future, is empty or too long.
    :raises Conflict: when the schedule is retired.
    """
    schedule = schedule_store.get(connection, key)
    if schedule.state == "retired":
        raise Conflict(f"Schedule {key!r} is retired and cannot be backfilled.")
    if until > now:
        raise ScheduleInvalid("until", "an instant that is past", until.isoformat())
    if after >= until:
        raise ScheduleInvalid("after", "an instant before until", after.isoformat())
    if not rate_per_second >= SLOWEST_PER_SECOND:
        expected = "a number above 0, at least one run a day"
        raise ScheduleInvalid("rate_per_second", expected, rate_per_second)
    if isinstance(in_flight, bool) or in_flight < 1:
        raise ScheduleInvalid("in_flight", "a whole number above 0", in_flight)
    timing = schedule.definition.timing
    if timing.count_between(after, until, MOST_BACKFILLED + 1) > MOST_BACKFILLED:
        raise ScheduleInvalid(
            "until",
            f"a range of at most {MOST_BACKFILLED} due times",
            until.isoformat(),
        )
    origin = f"{BACKFILL}{name or uuid.uuid4()}"
    _check_origin(origin)
    rows = []
    moments = islice(timing.between(after, until), MOST_BACKFILLED)
    for number, due_at in enumerate(moments):
        row = _asked_row(schedule, origin, due_at, now)
        row["state"] = RunState.WAITING
        row["publish_after"] = now + timedelta(seconds=number / rate_per_second)
        row["options"] = row["options"] | {IN_FLIGHT: in_flight}
        rows.append(row)
    made = _insert_new(connection, rows)
    _expect_ends(connection, key)
    audit.note(
        connection,
        now=now,
        who=who,
        action="schedule.backfill",
        subject=key,
        detail={"origin": origin, "runs": made},
    )
    return made


def cancel(connection: Connection, run: str, *, who: str, now: datetime) -> bool:
    """Cancel an open run; whether it was open. A started body is not stopped here.

    The fence grows, so the result of a body that still runs is refused.

    :raises NotFound: when there is no such run.
    """
    old = _run(connection, run)
    changed = connection.execute(
        update(runs)
        .where(runs.c.id == run, runs.c.state.in_(OPEN))
        .values(
            state=RunState.CANCELLED,
            reason="operator",
            live_key=None,
            fence=runs.c.fence + 1,
            finished_at=now,
            updated_at=now,
        )
    )
    if changed.rowcount:
        audit.note(
            connection,
            now=now,
            who=who,
            action="run.cancel",
            subject=run,
            detail={"was": old.state},
        )
    return bool(changed.rowcount)


def _manual_row(schedule: Schedule, origin: str, now: datetime) -> dict[str, Any]:
    return _asked_row(schedule, origin, now, now)


def _asked_row(
    schedule: Schedule, origin: str, due_at: datetime, now: datetime
) -> dict[str, Any]:
    """A run that a person wants: judged from now on, never held up by overlap."""
    row = base_row(schedule, due_at=due_at, now=now)
    grace = row["grace_until"] - due_at
    return row | {
        "id": run_id(schedule.id, origin, due_at),
        "origin": origin,
        "state": RunState.PLANNED,
        "fires_at": now,
        "grace_until": now + grace,
        "exclusive": False,
        "publish_after": now,
    }


def _insert_new(connection: Connection, rows: list[dict[str, Any]]) -> int:
    ids = [row["id"] for row in rows]
    there = connection.execute(select(runs.c.id).where(runs.c.id.in_(ids))).scalars()
    known = set(there)
    fresh = [row for row in rows if row["id"] not in known]
    insert_ignore(connection, runs, fresh)
    return len(fresh)


def _expect_ends(connection: Connection, key: str) -> None:
    """Begin the sums of a schedule's backfilled runs at 0, before one has ended.

    Those of its other runs are shown at 0 without a row; few are ever backfilled.
    """
    rows = [
        {
            "name": counters.RUNS,
            "schedule_key": key,
            "label": counters.runs_label("backfill", outcome),
            "value": 0,
        }
        for outcome in counters.OUTCOMES
    ]
    insert_ignore(connection, counters_table, rows)


def _by_origin(
    connection: Connection, schedule_id: str, origin: str
) -> Row[Any] | None:
    return connection.execute(
        select(runs.c.id).where(
            runs.c.schedule_id == schedule_id, runs.c.origin == origin
        )
    ).first()


def _check_origin(origin: str) -> None:
    if len(origin) > 190 or not origin.isprintable():
        raise ScheduleInvalid(
            "Idempotency-Key", "at most 180 printable characters", origin[:40]
        )


def _run(connection: Connection, run: str) -> Row[Any]:
    row = connection.execute(select(runs).where(runs.c.id == run)).first()
    if row is None:
        raise NotFound("run", run)
    return row
