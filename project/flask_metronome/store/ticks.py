"""One tick: claim what is due, plan it, record it, advance; one transaction.

1. Schedules that have no next due time yet (new or edited by hand) get one.
2. Due schedules are selected by the database's clock, oldest first, up to a
   batch; rows that another beat holds are passed over.
3. Each is planned; a row that cannot be is set aside with its error.
4. Runs are inserted (one that is there already is left alone), schedules are
   advanced by compare-and-set on revision and old due time.
5. Runs that can be published now are claimed for the caller in the same breath.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    Connection,
    Row,
    bindparam,
    func,
    select,
    update,
)

from flask_metronome.core.plan import (
    Occupancy,
    Plan,
    first_due_at,
    miss_after,
    plan,
)
from flask_metronome.core.run import RunState
from flask_metronome.core.schedule import Schedule
from flask_metronome.models import schedules
from flask_metronome.store import decisions
from flask_metronome.store import schedules as schedule_store
from flask_metronome.store.outbox import OutboxRow
from flask_metronome.store.promotion import promote_waiting
from flask_metronome.store.run_rows import planned_row
from flask_metronome.store.schedule_rows import followed_key, load

#: Seconds of planning after which the rest of a batch waits for the next tick: the
#: database ends a transaction that says nothing for five.
LONGEST_PLANNING = 1.0


@dataclass(kw_only=True, slots=True)
class TickReport:
    """What one tick did.

    ``outbox`` are the runs it made and claimed for publishing, ``cancelled``
    the runs that gave way and whose bodies may still be at work,
    ``next_due_at`` the earliest due time that is left, ``full`` whether the
    bound of a batch or of its time was reached, so that there may be more at once.
    """

    planned: int = 0
    decided: int = 0
    broken: int = 0
    full: bool = False
    next_due_at: datetime | None = None
    outbox: list[OutboxRow] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)


class BatchRefused(Exception):
    """What was decided about these schedules could not be written down.

    The cause says why; the transaction is to be rolled back.

    :param schedule_ids: the batch.
    """

    def __init__(self, schedule_ids: Sequence[str]) -> None:
        self.schedule_ids = schedule_ids
        super().__init__(f"{len(schedule_ids)} schedules cannot be recorded")


def tick(
    connection: Connection,
    *,
    now: datetime,
    batch: int,
    owner: str,
    lease_seconds: float,
) -> TickReport:
    """Decide what is due; see the steps above.

    :param owner: id of the beat, which holds the new runs for publishing.
    :raises BatchRefused: the database does not take what was decided.
    """
    report = TickReport()
    _aim_new(connection, now, batch)
    rows = _claim_due(connection, now, batch)
    report.full = len(rows) >= batch
    if rows:
        until = now + timedelta(seconds=lease_seconds)
        try:
            _decide(connection, rows, now, owner, until, report)
        except Exception as error:
            raise BatchRefused([row.id for row in rows]) from error
    promote_waiting(connection, now)
    report.next_due_at = _earliest(connection)
    return report


def _aim_new(connection: Connection, now: datetime, batch: int) -> None:
    """Give rows without a next due time one, strictly in the future."""
    rows = connection.execute(
        select(schedules)
        .where(
            schedules.c.state == "active",
            schedules.c.next_due_at.is_(None),
            schedules.c.after_key.is_(None),
        )
        .limit(batch)
        .with_for_update(skip_locked=True)
    ).all()
    for row in rows:
        try:
            schedule = _resumed(connection, load(row), now)
            due = None if schedule.is_used_up else first_due_at(schedule, now)
            followed = followed_key(schedule.definition)
            goes_on = due or (followed and not schedule.is_used_up)
            values: dict[str, Any] = {
                "next_due_at": due,
                "miss_after_at": miss_after(schedule, due),
                "after_key": followed,
                "last_due_at": schedule.last_due_at,
                "paused_at": None,
                "paused_by": None,
                "paused_reason": None,
                "error": None,
                "error_at": None,
                "state": "active" if goes_on else "finished",
            }
        except Exception as error:
            schedule_store.set_aside(connection, row.id, str(error), now=now)
            continue
        connection.execute(
            update(schedules).where(schedules.c.id == row.id).values(values)
        )


def _resumed(connection: Connection, schedule: Schedule, now: datetime) -> Schedule:
    """A schedule whose pause was ended by hand: the pause leaves its row here."""
    if schedule.paused_at is None:
        return schedule
    last = schedule_store.record_pause(connection, schedule, now)
    return replace(schedule, last_due_at=last or schedule.last_due_at)


def _claim_due(connection: Connection, now: datetime, batch: int) -> Sequence[Row[Any]]:
    return connection.execute(
        select(schedules)
        .where(schedules.c.state == "active", schedules.c.next_due_at <= now)
        .order_by(schedules.c.next_due_at)
        .limit(batch)
        .with_for_update(skip_locked=True)
    ).all()


def _decide(
    connection: Connection,
    rows: Sequence[Row[Any]],
    now: datetime,
    owner: str,
    until: datetime,
    report: TickReport,
) -> None:
    loaded = _load_all(connection, rows, now, report)
    occupied = decisions.occupancy(connection, loaded)
    plans: list[tuple[Schedule, Plan]] = []
    stop = time.monotonic() + LONGEST_PLANNING
    for schedule in loaded:
        if plans and time.monotonic() > stop:
            report.full = True
            break
        there = occupied.setdefault(schedule.concurrency_key, Occupancy())
        try:
            plans.append((schedule, plan(schedule, now, there)))
        except Exception as error:
            # a row nobody can plan must never stop the batch
            schedule_store.set_aside(connection, schedule.id, str(error), now=now)
            report.broken += 1
    _record(connection, plans, now, owner, until, report)


def _load_all(
    connection: Connection,
    rows: Iterable[Row[Any]],
    now: datetime,
    report: TickReport,
) -> list[Schedule]:
    loaded = []
    for row in rows:
        try:
            loaded.append(load(row))
        except Exception as error:
            schedule_store.set_aside(connection, row.id, str(error), now=now)
            report.broken += 1
    return loaded


def _record(
    connection: Connection,
    plans: decisions.Decided,
    now: datetime,
    owner: str,
    until: datetime,
    report: TickReport,
) -> None:
    if not plans:
        return
    rows, mine = [], []
    for schedule, decided in plans:
        for run in decided.runs:
            row = planned_row(schedule, run, now)
            if run.state is RunState.PLANNED and run.fires_at <= now:
                row |= {"publish_owner": owner, "publish_until": until}
                mine.append(OutboxRow.of(row))
            report.planned += run.makes_work
            report.decided += 1
            rows.append(row)
    cancelled = decisions.record(connection, plans, rows, now=now)
    report.cancelled = sorted(cancelled)
    report.outbox = [row for row in mine if row.id not in cancelled]
    _advance(connection, plans, now)


def _advance(
    connection: Connection,
    plans: decisions.Decided,
    now: datetime,
) -> None:
    connection.execute(
        update(schedules)
        .where(
            schedules.c.id == bindparam("old_id"),
            schedules.c.revision == bindparam("old_revision"),
            schedules.c.next_due_at == bindparam("old_due"),
        )
        .values(
            next_due_at=bindparam("new_due"),
            miss_after_at=bindparam("new_miss"),
            last_due_at=bindparam("new_last"),
            runs_made=bindparam("new_made"),
            state=bindparam("new_state"),
            updated_at=bindparam("at"),
        ),
        [
            {
                "old_id": schedule.id,
                "old_revision": schedule.revision,
                "old_due": schedule.next_due_at,
                "new_due": decided.next_due_at,
                "new_miss": decided.miss_after_at,
                "new_last": decided.last_due_at,
                "new_made": decided.runs_made,
                "new_state": "finished" if decided.finished else "active",
                "at": now,
            }
            for schedule, decided in plans
        ],
    )


def _earliest(connection: Connection) -> datetime | None:
    return connection.execute(
        select(func.min(schedules.c.next_due_at)).where(schedules.c.state == "active")
    ).scalar()
