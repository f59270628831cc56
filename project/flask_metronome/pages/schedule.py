"""A schedule's page: what it is, when it is due next, what became of its runs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from flask import render_template

from flask_metronome.api.definitions import cadence_words, definition_of
from flask_metronome.async_views import database_now, on_loop, reading
from flask_metronome.core.preview import PreviewInstant, preview, zone_of
from flask_metronome.errors import InputInvalid
from flask_metronome.history import runs, schedules
from flask_metronome.history.stats import stats_between
from flask_metronome.history.values import ScheduleView
from flask_metronome.pages.blueprint import pages
from flask_metronome.pages.standing import standing_of
from flask_metronome.pages.strip import draw
from flask_metronome.shown import as_shown
from flask_metronome.state import state_of

_NEXT = 10
_HISTORY = 25
_WEEK = timedelta(days=7)


@pages.get("/schedules/<key>")
@on_loop
async def schedule(key: str) -> str:
    """One schedule."""
    async with reading() as connection:
        now = await database_now(connection)
        found = await schedules.get_schedule(connection, key)
        bars = (await schedules.strips(connection, [found.id])).get(found.id, [])
        week = await stats_between(connection, now - _WEEK, now, schedule_id=found.id)
        history = await runs.list_runs(
            connection, runs.RunFilter(schedule=key), limit=_HISTORY
        )
    coming, zone, trouble = _coming(found)
    return render_template(
        "metronome/schedule.html",
        schedule=as_shown(state_of().celery, found),
        words=cadence_words(found.cadence),
        standing=standing_of(found, bars, now),
        strip=draw(bars, now),
        week=week,
        history=history,
        coming=coming,
        zone=zone,
        trouble=trouble,
        now=now,
        page_seconds=state_of().settings.page_seconds,
    )


def _coming(found: ScheduleView) -> tuple[Sequence[PreviewInstant], str, str]:
    """Its next due times, their zone, and why there are none."""
    if found.state != "active":
        return [], "UTC", f"None while the schedule is {found.state}."
    if found.cadence.get("kind") == "after":
        return [], "UTC", "It has no due times of its own: it follows another schedule."
    if found.next_due_at is None:
        return [], "UTC", "None yet: a beat works out the first within a second."
    try:
        timing = definition_of(found).timing
    except InputInvalid as error:
        return [], "UTC", str(error)
    before = found.next_due_at - timedelta(microseconds=1)
    return tuple(preview(timing, before, _NEXT)), zone_of(timing), ""
