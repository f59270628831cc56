"""A schedule's page: what it is, when it is due next, what became of its runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from flask import render_template

from flask_metronome.api.definitions import cadence_words, definition_of, runs_left
from flask_metronome.async_views import database_now, on_loop, reading
from flask_metronome.core.preview import PreviewInstant, preview, zone_of
from flask_metronome.errors import InputInvalid
from flask_metronome.history import audit, incidents, runs, schedules
from flask_metronome.history.incidents import IncidentView, MuteView
from flask_metronome.history.stats import stats_between
from flask_metronome.history.values import (
    AuditLine,
    Bar,
    Durations,
    RunView,
    ScheduleView,
    Slice,
    Stats,
)
from flask_metronome.history.waits import waits_between
from flask_metronome.pages.actions import SPANS
from flask_metronome.pages.blueprint import pages
from flask_metronome.pages.policy import policies_of
from flask_metronome.pages.standing import standing_of
from flask_metronome.pages.strip import draw
from flask_metronome.shown import as_shown
from flask_metronome.state import state_of

_NEXT = 10
_HISTORY = 25
_CHANGES = 10
_WEEK = timedelta(days=7)
_GOING_ON = ("open", "acknowledged")


@dataclass(frozen=True, kw_only=True, slots=True)
class SeenSchedule:
    """All that the page shows of one schedule, of one instant."""

    now: datetime
    schedule: ScheduleView
    bars: Sequence[Bar]
    week: Stats
    waits: Durations
    history: Slice[RunView]
    incidents: Sequence[IncidentView]
    mutes: Sequence[MuteView]
    changes: Sequence[AuditLine]


@pages.get("/schedules/<key>")
@on_loop
async def schedule(key: str) -> str:
    """One schedule."""
    seen = await _see(key)
    found = seen.schedule
    coming, zone, trouble = _coming(found)
    return render_template(
        "metronome/schedule.html",
        seen=seen,
        schedule=as_shown(state_of().celery, found),
        words=cadence_words(found.cadence),
        policies=policies_of(found),
        standing=standing_of(found, seen.bars, seen.now),
        strip=draw(seen.bars, seen.now),
        edited=_edited(found),
        coming=coming,
        zone=zone,
        trouble=trouble,
        now=seen.now,
        spans=SPANS,
    )


async def _see(key: str) -> SeenSchedule:
    async with reading() as connection:
        now = await database_now(connection)
        found = await schedules.get_schedule(connection, key)
        bars = await schedules.strips(connection, [found.id])
        week = await stats_between(connection, now - _WEEK, now, schedule_id=found.id)
        waits = await waits_between(connection, now - _WEEK, now, schedule_id=found.id)
        history = await runs.list_runs(
            connection, runs.RunFilter(schedule=key), limit=_HISTORY
        )
        open_ones = await incidents.list_incidents(
            connection, states=_GOING_ON, schedule=key
        )
        quiet = await incidents.list_mutes(connection, now)
        changes = await audit.list_audit(connection, subject=key, limit=_CHANGES)
    scopes = {"*", f"schedule:{key}", f"lane:{found.lane}"}
    return SeenSchedule(
        now=now,
        schedule=as_shown(state_of().celery, found),
        bars=bars.get(found.id, []),
        week=week,
        waits=waits,
        history=history,
        incidents=open_ones.items,
        mutes=[mute for mute in quiet if mute.scope in scopes],
        changes=changes.items,
    )


def _edited(found: ScheduleView) -> list[str]:
    """The fields in which it is other than the code declares."""
    if not isinstance(found.declared, Mapping):
        return []
    try:
        now = definition_of(found).to_dict()
    except InputInvalid:
        return []
    # a field that the declaration does not know yet was not edited
    told = found.declared
    return [name for name in now if name in told and now[name] != told[name]]


def _coming(found: ScheduleView) -> tuple[Sequence[PreviewInstant], str, str]:
    """Its next due times, their zone, and why there are none."""
    if found.state != "active":
        return [], "UTC", f"None while the schedule is {found.state}."
    if isinstance(found.cadence, Mapping) and found.cadence.get("kind") == "after":
        return [], "UTC", "It has no due times of its own: it follows another schedule."
    if found.next_due_at is None:
        return [], "UTC", "None yet: a beat works out the first within a second."
    try:
        timing = definition_of(found).timing
    except InputInvalid as error:
        return [], "UTC", str(error)
    before = found.next_due_at - timedelta(microseconds=1)
    return tuple(preview(timing, before, runs_left(found, _NEXT))), zone_of(timing), ""
