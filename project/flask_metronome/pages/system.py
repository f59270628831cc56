"""Who is at work, what waits, and who changed what."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from flask import render_template

from flask_metronome.async_views import database_now, on_loop, reading
from flask_metronome.broker_probe import see_broker
from flask_metronome.history import audit
from flask_metronome.history.backlog import see_backlog
from flask_metronome.history.unknown import unknown_between
from flask_metronome.pages.blueprint import pages
from flask_metronome.pages.now import at_work
from flask_metronome.state import state_of
from flask_metronome.version import __version__

_CHANGES = 15
_WEEK = timedelta(days=7)
_BROKER_SECONDS = 1.5


@pages.get("/system")
@on_loop
async def system() -> str:
    """Beats, workers, lanes, broker, what is to be sent, and the audit."""
    state = state_of()
    broker = asyncio.create_task(asyncio.to_thread(see_broker, state, _BROKER_SECONDS))
    async with reading(state) as connection:
        now = await database_now(connection)
        who = await at_work(connection, state, now)
        backlog = await see_backlog(connection, now)
        unknown = await unknown_between(connection, now - _WEEK, now)
        changes = await audit.list_audit(connection, limit=_CHANGES)
    return render_template(
        "metronome/system.html",
        now=now,
        at_work=who,
        backlog=backlog,
        unknown=unknown,
        broker=await broker,
        changes=changes.items,
        version=__version__,
        database=state.database.public_url,
    )
