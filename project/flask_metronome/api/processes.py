"""``/stats /lanes /beats /workers /tasks /audit``: who is at work, and sums."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from flask_metronome.api.blueprint import api
from flask_metronome.api.list_schemas import (
    AuditListSchema,
    BeatListSchema,
    LaneListSchema,
    TaskListSchema,
    WorkerListSchema,
)
from flask_metronome.api.queries import WINDOWS, AuditQuery, NoQuery, WindowQuery
from flask_metronome.api.schemas import StatsSchema
from flask_metronome.async_views import database_now, on_loop, reading
from flask_metronome.history import audit, processes
from flask_metronome.history.stats import stats_between
from flask_metronome.history.values import AuditLine, Slice, Stats
from flask_metronome.shown import audited_as_shown
from flask_metronome.state import State, state_of

Items = dict[str, Any]


@api.route("/stats")
@api.arguments(WindowQuery, location="query")
@api.response(200, StatsSchema)
@on_loop
async def stats(query: dict[str, Any]) -> Stats:
    """What became of all runs due in the last hour, day, week or month."""
    async with reading() as connection:
        now = await database_now(connection)
        since = now - timedelta(seconds=WINDOWS[query["window"]])
        return await stats_between(connection, since, now)


@api.route("/lanes")
@api.arguments(NoQuery, location="query")
@api.response(200, LaneListSchema)
@on_loop
async def list_lanes(_query: dict[str, Any]) -> Items:
    """The lanes: who uses them, who serves them, what is open in them."""
    state = state_of()
    async with reading() as connection:
        now = await database_now(connection)
        serving = await processes.list_workers(
            connection, now, state.settings.lease_seconds
        )
        return {"items": await processes.list_lanes(connection, state.lanes, serving)}


@api.route("/beats")
@api.arguments(NoQuery, location="query")
@api.response(200, BeatListSchema)
@on_loop
async def list_beats(_query: dict[str, Any]) -> Items:
    """The beats of the last day, the living first."""
    async with reading() as connection:
        now = await database_now(connection)
        return {"items": await processes.list_beats(connection, now)}


@api.route("/workers")
@api.arguments(NoQuery, location="query")
@api.response(200, WorkerListSchema)
@on_loop
async def list_workers(_query: dict[str, Any]) -> Items:
    """The workers of the last day, the living first."""
    lease_seconds = state_of().settings.lease_seconds
    async with reading() as connection:
        now = await database_now(connection)
        found = await processes.list_workers(connection, now, lease_seconds)
        return {"items": found}


@api.route("/tasks")
@api.arguments(NoQuery, location="query")
@api.response(200, TaskListSchema)
@on_loop
async def list_tasks(_query: dict[str, Any]) -> Items:
    """The tasks of this app, and those that schedules name."""
    registered = _registered(state_of())
    async with reading() as connection:
        return {"items": await processes.list_tasks(connection, registered)}


@api.route("/audit")
@api.arguments(AuditQuery, location="query")
@api.response(200, AuditListSchema)
@on_loop
async def list_audit(query: dict[str, Any]) -> Slice[AuditLine]:
    """Who changed what, newest first."""
    async with reading() as connection:
        part = await audit.list_audit(
            connection,
            subject=query["subject"],
            limit=query["limit"],
            cursor=query["cursor"],
        )
    app = state_of().celery
    return replace(part, items=tuple(audited_as_shown(app, x) for x in part.items))


def _registered(state: State) -> dict[str, str | None]:
    """The lane of each task of the app; Celery's own are left out."""
    return {
        str(name): getattr(task, "lane", None) or state.settings.default_lane
        for name, task in state.celery.tasks.items()
        if not name.startswith("celery.")
    }
