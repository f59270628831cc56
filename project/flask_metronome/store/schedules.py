"""Writing schedules: added, changed, paused, resumed, retired, synced.

Every change raises the revision, is noted in the audit, and leaves the
schedule with a next due time in the future: no edit fires a past instant.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, exists, select, update

from flask_metronome.core.plan import MOST_COUNTED, first_due_at
from flask_metronome.core.run import AUTO, RunState, SkippedReason, run_id
from flask_metronome.core.schedule import Definition, Schedule
from flask_metronome.errors import (
    AlreadyExists,
    Conflict,
    InputInvalid,
    NotFound,
    ScheduleInvalid,
)
from flask_metronome.models import runs, schedules
from flask_metronome.store import audit
from flask_metronome.store.decisions import settle
from flask_metronome.store.dialects import insert_ignore
from flask_metronome.store.run_rows import base_row
from flask_metronome.store.schedule_rows import (
    columns,
    followed_key,
    load,
    progress,
    read_or_broken,
)
from flask_metronome.store.upserts import rows_changed

_AIM_AND_PAUSE = (
    "next_due_at",
    "miss_after_at",
    "paused_at",
    "paused_by",
    "paused_reason",
)


def get(connection: Connection, key: str, *, lock: bool = False) -> Schedule:
    """The schedule of that key.

    :raises NotFound: when there is none.
    """
    statement = select(schedules).where(schedules.c.key == key)
    row = connection.execute(statement.with_for_update() if lock else statement).first()
    if row is None:
        raise NotFound("schedule", key)
    return load(row)


def said(connection: Connection, key: str) -> Definition | None:
    """The definition that is stored, its row locked; ``None``: it cannot be read.

    :raises NotFound: when there is none of that key.
    """
    try:
        return get(connection, key, lock=True).definition
    except InputInvalid:
        return None


def add(
    connection: Connection,
    definition: Definition,
    *,
    owner: str,
    who: str,
    now: datetime,
    declared: Mapping[str, Any] | None = None,
) -> Schedule:
    """Add a schedule; it is first due strictly after ``now``.

    :raises AlreadyExists: when the key is taken.
    """
    if _has(connection, definition.key):
        raise AlreadyExists(definition.key)
    _refuse_circle(connection, definition)
    schedule = Schedule(
        id=str(uuid.uuid4()),
        definition=definition,
        owner=owner,
        declared=declared,
        created_at=now,
        updated_at=now,
    )
    schedule = _aimed(schedule, now)
    row = columns(definition) | progress(schedule)
    if insert_ignore(connection, schedules, [row]) == 0:
        raise AlreadyExists(definition.key)
    audit.note(
        connection,
        now=now,
        who=who,
        action="schedule.add",
        subject=definition.key,
        detail=definition.to_dict(),
    )
    return schedule


def replace_definition(
    connection: Connection,
    key: str,
    definition: Definition,
    *,
    who: str,
    now: datetime,
    expected_revision: int | None = None,
    declared: Mapping[str, Any] | None = None,
    owner: str | None = None,
) -> Schedule:
    """Say a schedule differently; due times already decided stay decided.

    That mends a row that cannot be read, too.

    :raises NotFound: when there is none of that key.
    :raises Conflict: when its revision is not the expected one.
    """
    row = _locked_row(connection, key, expected_revision)
    old = read_or_broken(row, definition)
    if definition.key != key and _has(connection, definition.key):
        raise AlreadyExists(definition.key)
    _refuse_circle(connection, definition)
    old = settle(connection, old, now=now)
    new = old.with_definition(definition)
    revives = old.state in ("finished", "retired", "broken")
    new = replace(
        new,
        state="active" if revives else old.state,
        error=None,
        error_at=None,
        declared=old.declared if declared is None else declared,
        owner=owner or old.owner,
    )
    new = _written(connection, _aimed(new, now), now)
    _note_change(connection, "schedule.edit", old, new, who, now)
    return new


def pause(
    connection: Connection, key: str, *, reason: str | None, who: str, now: datetime
) -> Schedule:
    """Stop planning until it is resumed; pausing twice changes nothing.

    :raises NotFound: when there is none of that key.
    :raises Conflict: when it is finished or retired.
    """
    old = get(connection, key, lock=True)
    if old.state == "paused":
        return old
    if old.state not in ("active", "broken"):
        raise Conflict(f"Schedule {key!r} is {old.state} and cannot be paused.")
    old = settle(connection, old, now=now, skipping=SkippedReason.PAUSED)
    new = replace(
        old,
        state="paused",
        revision=old.revision + 1,
        paused_at=now,
        paused_by=who,
        paused_reason=reason,
        next_due_at=None,
    )
    new = _written(connection, new, now)
    audit.note(
        connection,
        now=now,
        who=who,
        action="schedule.pause",
        subject=key,
        detail={"reason": reason},
    )
    return new


def resume(connection: Connection, key: str, *, who: str, now: datetime) -> Schedule:
    """Plan again, from the first due time after ``now``.

    The due times of the pause become one range row, skipped(paused).

    :raises NotFound: when there is none of that key.
    :raises Conflict: when it is neither paused nor active.
    """
    old = get(connection, key, lock=True)
    if old.state == "active":
        return old
    if old.state != "paused":
        raise Conflict(f"Schedule {key!r} is {old.state} and cannot be resumed.")
    last = record_pause(connection, old, now)
    new = replace(
        old,
        state="active",
        revision=old.revision + 1,
        paused_at=None,
        paused_by=None,
        paused_reason=None,
        last_due_at=last or old.last_due_at,
    )
    new = _written(connection, _aimed(new, now), now)
    audit.note(connection, now=now, who=who, action="schedule.resume", subject=key)
    return new


def remove(
    connection: Connection,
    key: str,
    *,
    who: str,
    now: datetime,
    expected_revision: int | None = None,
) -> bool:
    """Delete a schedule without runs, retire one with history; whether deleted.

    A due time that nobody has decided yet is history too. It works also where the
    row cannot be read.

    :raises NotFound: when there is none of that key.
    :raises Conflict: when its revision is not the expected one.
    """
    row = _locked_row(connection, key, expected_revision)
    retire(connection, row, now=now)
    ran = connection.execute(
        select(exists().where(runs.c.schedule_id == row.id))
    ).scalar_one()
    if not ran:
        connection.execute(delete(schedules).where(schedules.c.id == row.id))
    audit.note(
        connection,
        now=now,
        who=who,
        action="schedule.remove",
        subject=key,
        detail={"deleted": not ran},
    )
    return not ran


def retire(connection: Connection, row: Row[Any], *, now: datetime) -> None:
    """Stop a schedule for good; the caller holds its row's lock.

    What was due and not decided yet is skipped(retired), a pause's due times
    are skipped(paused): neither vanishes with the schedule.
    """
    values: dict[str, Any] = {
        "state": "retired",
        "revision": row.revision + 1,
        **dict.fromkeys(_AIM_AND_PAUSE),
        "updated_at": now,
    }
    # nobody can say what a row that cannot be read was due for
    with suppress(InputInvalid):
        old = settle(connection, load(row), now=now, skipping=SkippedReason.RETIRED)
        last = record_pause(connection, old, now) if old.state == "paused" else None
        values["last_due_at"] = last or old.last_due_at
    connection.execute(update(schedules).where(schedules.c.id == row.id).values(values))


def set_aside(
    connection: Connection, schedule_id: str, error: str, *, now: datetime
) -> None:
    """Take a row that cannot be planned out of the ticks, with its error shown.

    One that is out of them already stays as it is: another beat was first, and the
    same error once more would look like an edit that mends it.
    """
    changed = connection.execute(
        update(schedules)
        .where(schedules.c.id == schedule_id, schedules.c.state == "active")
        .values(state="broken", error=error, error_at=now, updated_at=now)
    )
    if not rows_changed(changed):
        return
    key = select(schedules.c.key).where(schedules.c.id == schedule_id)
    audit.note(
        connection,
        now=now,
        who="beat",
        action="schedule.set_aside",
        subject=connection.execute(key).scalar_one(),
        detail={"error": error},
    )


# -- parts -----------------------------------------------------------------------


def _has(connection: Connection, key: str) -> bool:
    found = connection.execute(select(exists().where(schedules.c.key == key)))
    return bool(found.scalar_one())


def _locked_row(connection: Connection, key: str, expected: int | None) -> Row[Any]:
    row = connection.execute(
        select(schedules).where(schedules.c.key == key).with_for_update()
    ).first()
    if row is None:
        raise NotFound("schedule", key)
    if expected is not None and row.revision != expected:
        raise Conflict(
            f"Schedule {key!r} is at revision {row.revision}, expected {expected}: "
            "somebody changed it meanwhile."
        )
    return row


def _aimed(schedule: Schedule, now: datetime) -> Schedule:
    """The schedule with its next due time computed from ``now``."""
    if schedule.state not in ("active", "finished"):
        return replace(schedule, next_due_at=None)
    used_up = schedule.is_used_up
    due = None if used_up else first_due_at(schedule, now)
    follows = followed_key(schedule.definition) is not None and not used_up
    state = "active" if due is not None or follows else "finished"
    return replace(schedule, state=state, next_due_at=due)


def _refuse_circle(connection: Connection, definition: Definition) -> None:
    """A schedule that follows itself by way of others would never end."""
    key = followed_key(definition)
    seen: set[str] = set()
    while key is not None and key not in seen:
        if key == definition.key:
            raise ScheduleInvalid(
                "cadence", "a schedule that does not follow this one", sorted(seen)
            )
        seen.add(key)
        statement = select(schedules.c.after_key).where(schedules.c.key == key)
        key = connection.execute(statement).scalar_one_or_none()


def _written(connection: Connection, schedule: Schedule, now: datetime) -> Schedule:
    schedule = replace(schedule, updated_at=now)
    connection.execute(
        update(schedules)
        .where(schedules.c.id == schedule.id)
        .values(columns(schedule.definition) | progress(schedule))
    )
    return schedule


def _note_change(
    connection: Connection,
    action: str,
    old: Schedule,
    new: Schedule,
    who: str,
    now: datetime,
) -> None:
    before, after = old.definition.to_dict(), new.definition.to_dict()
    changed = {k: [before[k], after[k]] for k in after if before[k] != after[k]}
    audit.note(
        connection, now=now, who=who, action=action, subject=old.key, detail=changed
    )


def record_pause(
    connection: Connection, schedule: Schedule, now: datetime
) -> datetime | None:
    """One range row for the due times of the pause; the last of them."""
    timing = schedule.definition.timing
    # a pause by hand in SQL does not say since when
    since = max(
        filter(None, (schedule.paused_at, schedule.last_due_at)),
        default=schedule.created_at or now,
    )
    first, last = timing.next_after(since), timing.previous_at_or_before(now)
    if first is None or last is None or last < first:
        return None
    row = base_row(schedule, due_at=first, now=now) | {
        "id": run_id(schedule.id, AUTO, first),
        "origin": AUTO,
        "state": RunState.SKIPPED,
        "reason": SkippedReason.PAUSED,
        "missed_from": first,
        "missed_to": last,
        "missed_count": timing.count_between(since, now, MOST_COUNTED),
        "finished_at": now,
    }
    insert_ignore(connection, runs, [row])
    return last
