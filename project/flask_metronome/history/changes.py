"""What has changed, for whoever looks on: runs, incidents, schedules.

A change is what a row says now; states that came and went between two looks
are left out. A row is dated before its transaction commits, so every look goes
back over the last seconds and leaves out what was told already.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, Table, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from flask_metronome.core.incident import IncidentState
from flask_metronome.history.incidents import IncidentView
from flask_metronome.history.values import names_of
from flask_metronome.models import audit, incidents, runs, schedules

#: No transaction of ours takes longer: its statements have a deadline.
LOOK_BACK = timedelta(seconds=10)
#: The most rows of one kind in one look.
PAGE = 200
#: What the audit calls the changes of a schedule itself.
EDITS = ("add", "edit", "pause", "resume", "remove", "retire", "set_aside")
REMOVED = "removed"


@dataclass(frozen=True, kw_only=True, slots=True)
class RunChange:
    """A run in short, as it is now."""

    id: str
    schedule_key: str
    origin: str
    due_at: datetime
    state: str
    reason: str | None
    task: str
    lane: str
    catchup: bool
    missed: bool
    missed_count: int
    late: bool
    overrun: bool
    stuck: bool
    published_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    runtime_seconds: float | None
    worker: str | None
    attempt_count: int
    retries: int
    error_type: str | None
    updated_at: datetime = field(compare=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class ScheduleChange:
    """What somebody did to a schedule, and what it is now.

    :param action: add, edit, pause, resume, remove, retire or set_aside.
    :param state: ``removed`` when it is no longer there; the rest is None then.
    """

    key: str
    action: str
    state: str
    task: str | None = None
    lane: str | None = None
    revision: int | None = None
    next_due_at: datetime | None = None
    error: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One change: of what kind, dated when, and the thing as it is now."""

    kind: str
    at: datetime
    value: RunChange | ScheduleChange | IncidentView


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """What one look found.

    :param position: everything dated up to here was told.
    :param more: whether there is more to read right now.
    """

    changes: tuple[Change, ...]
    position: datetime
    more: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class ChangeFilter:
    """Whose changes: of one schedule, of one lane, of both, or of all."""

    schedule: str | None = None
    lane: str | None = None


_RUN_COLUMNS = [
    runs.c.attempts.label(name) if name == "attempt_count" else runs.c[name]
    for name in names_of(RunChange)
]
_INCIDENT_COLUMNS = [incidents.c[name] for name in names_of(IncidentView)]
_SCHEDULE_COLUMNS = [
    schedules.c[name]
    for name in names_of(ScheduleChange)
    if name not in ("key", "action")
]


class Changes:
    """What happens from some instant on, look by look.

    Told at least once: what was dated in the last seconds before ``since``
    comes again, and so do all incidents that are open.

    :param since: aware; nothing that was dated later is left out.
    """

    def __init__(self, wanted: ChangeFilter, since: datetime) -> None:
        self._wanted = wanted
        self._runs: tuple[datetime, str] = (since - LOOK_BACK, "")
        self._edits: tuple[datetime, int] = (since - LOOK_BACK, 0)
        self._closed_after = since - LOOK_BACK
        self._told_runs: dict[str, RunChange] = {}
        self._told_edits: dict[int, datetime] = {}
        self._told_incidents: dict[str, IncidentView] = {}

    async def look(self, connection: AsyncConnection, now: datetime) -> Look:
        """What is new since the last look.

        :param now: the database's instant, read before.
        """
        found_runs, next_run = await self._new_runs(connection)
        found_edits, next_edit = await self._new_edits(connection)
        found = [*found_runs, *found_edits]
        found.sort(key=lambda change: change.at)
        found += await self._new_incidents(connection, now)
        again = now - LOOK_BACK
        self._runs = next_run or (again, "")
        self._edits = next_edit or (again, 0)
        self._forget(again)
        self._closed_after = again
        going_on = [walk[0] for walk in (next_run, next_edit) if walk is not None]
        return Look(
            changes=tuple(found),
            position=min(going_on, default=now),
            more=bool(going_on),
        )

    async def _new_runs(
        self, connection: AsyncConnection
    ) -> tuple[list[Change], tuple[datetime, str] | None]:
        statement = _after(
            select(*_RUN_COLUMNS).where(*self._of_wanted(runs)),
            (runs.c.updated_at, runs.c.id),
            self._runs,
        )
        rows = (await connection.execute(statement)).mappings()
        found = [RunChange(**row) for row in rows]
        new = [run for run in found if self._told_runs.get(run.id) != run]
        self._told_runs.update((run.id, run) for run in found)
        following = None
        if len(found) == PAGE:
            following = (found[-1].updated_at, found[-1].id)
        return [_change("run", run.updated_at, run) for run in new], following

    async def _new_edits(
        self, connection: AsyncConnection
    ) -> tuple[list[Change], tuple[datetime, int] | None]:
        lines = select(
            audit.c.id, audit.c.at, audit.c.action, audit.c.subject, *_SCHEDULE_COLUMNS
        ).select_from(audit.outerjoin(schedules, schedules.c.key == audit.c.subject))
        lines = lines.where(
            audit.c.action.in_([f"schedule.{action}" for action in EDITS])
        )
        if self._wanted.schedule is not None:
            lines = lines.where(audit.c.subject == self._wanted.schedule)
        if self._wanted.lane is not None:
            lines = lines.where(schedules.c.lane == self._wanted.lane)
        statement = _after(lines, (audit.c.at, audit.c.id), self._edits)
        found = (await connection.execute(statement)).all()
        new = [line for line in found if line.id not in self._told_edits]
        self._told_edits.update((line.id, line.at) for line in found)
        following = (found[-1].at, found[-1].id) if len(found) == PAGE else None
        return [_change("schedule", line.at, _edit(line)) for line in new], following

    async def _new_incidents(
        self, connection: AsyncConnection, now: datetime
    ) -> list[Change]:
        rows: list[Any] = []
        for condition in (
            incidents.c.state.in_((IncidentState.OPEN, IncidentState.ACKNOWLEDGED)),
            incidents.c.closed_at > self._closed_after,
        ):
            statement = (
                select(*_INCIDENT_COLUMNS)
                .where(condition, *self._of_wanted(incidents))
                .order_by(incidents.c.opened_at.desc(), incidents.c.id)
                .limit(PAGE)
            )
            rows += (await connection.execute(statement)).mappings()
        found = [IncidentView(**row) for row in rows]
        new = [one for one in found if self._told_incidents.get(one.id) != one]
        self._told_incidents = {one.id: one for one in found}
        return [_change("incident", now, one) for one in new]

    def _of_wanted(self, table: Table) -> list[ColumnElement[bool]]:
        conditions: list[ColumnElement[bool]] = []
        if self._wanted.schedule is not None:
            conditions.append(table.c.schedule_key == self._wanted.schedule)
        if self._wanted.lane is not None:
            conditions.append(table.c.lane == self._wanted.lane)
        return conditions

    def _forget(self, again: datetime) -> None:
        """What no look goes back to any more."""
        runs_from = min(self._runs[0], again)
        edits_from = min(self._edits[0], again)
        self._told_runs = {
            run.id: run
            for run in self._told_runs.values()
            if run.updated_at >= runs_from
        }
        self._told_edits = {
            line: at for line, at in self._told_edits.items() if at >= edits_from
        }


def _after(
    statement: Select[Any],
    columns: tuple[ColumnElement[Any], ColumnElement[Any]],
    walk: tuple[datetime, Any],
) -> Select[Any]:
    """The rows behind a point of an index, the oldest first."""
    at, last = columns
    return (
        # the first condition is what the index can begin at
        statement.where(at >= walk[0], or_(at > walk[0], last > walk[1]))
        .order_by(at, last)
        .limit(PAGE)
    )


def _change(kind: str, at: datetime, value: Any) -> Change:
    return Change(kind=kind, at=at, value=value)


def _edit(line: Any) -> ScheduleChange:
    return ScheduleChange(
        key=line.subject,
        action=line.action.partition(".")[2],
        state=line.state or REMOVED,
        task=line.task,
        lane=line.lane,
        revision=line.revision,
        next_due_at=line.next_due_at,
        error=line.error,
    )
