"""What is due next, of all schedules."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta

from flask import render_template

from flask_metronome.api.definitions import cadence_words, definition_of
from flask_metronome.api.parsing import query_of
from flask_metronome.api.queries import SPANS, ComingQuery
from flask_metronome.async_views import database_now, on_loop, reading
from flask_metronome.core.coming import Agenda, agenda
from flask_metronome.errors import InputInvalid
from flask_metronome.history import schedules
from flask_metronome.history.values import ScheduleView
from flask_metronome.pages.blueprint import pages
from flask_metronome.state import state_of

#: Those that are due soonest; a lane has fewer.
_SCHEDULES = 2000
#: A schedule that is due more often in the span is named and not listed.
_MOST_EACH = 12
_MOST = 200
_NAMES = {"6h": "6 hours", "1d": "24 hours", "7d": "7 days"}


@pages.get("/coming")
@on_loop
async def coming() -> str:
    """All due times of a span to come."""
    query = query_of(ComingQuery)
    async with reading() as connection:
        now = await database_now(connection)
        until = now + timedelta(seconds=SPANS[query["span"]])
        found = await schedules.coming_schedules(
            connection, until, lane=query["lane"], limit=_SCHEDULES + 1
        )
    by_key = {item.key: item for item in found[:_SCHEDULES]}
    # arithmetic for many schedules: not on the loop of all requests
    ahead = await asyncio.to_thread(_agenda, by_key, until)
    return render_template(
        "metronome/coming.html",
        agenda=ahead,
        schedules=by_key,
        words={key: cadence_words(item.cadence) for key, item in by_key.items()},
        query=query,
        spans=_NAMES,
        lanes=state_of().lanes,
        most=_MOST,
        looked_at=_SCHEDULES if len(found) > _SCHEDULES else None,
        now=now,
    )


def _agenda(found: Mapping[str, ScheduleView], until: datetime) -> Agenda:
    timings = {}
    for key, item in found.items():
        try:
            timing = definition_of(item).timing
        except InputInvalid:
            continue  # its own page says what is wrong with it
        if item.next_due_at is not None:
            timings[key] = (timing, item.next_due_at)
    return agenda(timings, until, most_each=_MOST_EACH, most=_MOST)
