"""``/runs``: what was due, what became of it, attempt by attempt."""

from __future__ import annotations

import asyncio
from typing import Any

from flask import url_for

from flask_metronome.access import caller
from flask_metronome.api.blueprint import api
from flask_metronome.api.headers import LOCATION
from flask_metronome.api.list_schemas import AttemptListSchema, RunListSchema
from flask_metronome.api.parsing import body_object, idempotency_key, only
from flask_metronome.api.queries import NoQuery, RunQuery
from flask_metronome.api.schemas import RunDetailSchema, RunSchema
from flask_metronome.async_views import on_loop, reading
from flask_metronome.errors import Conflict
from flask_metronome.history import runs
from flask_metronome.history.values import AttemptView, RunDetail, RunView, Slice
from flask_metronome.operations import Operations
from flask_metronome.state import state_of

Headers = dict[str, str]


def run_filter(query: dict[str, Any], **fixed: Any) -> runs.RunFilter:
    """A query string as the filter of a list of runs."""
    return runs.RunFilter(
        schedule=fixed.get("schedule", query.get("schedule")),
        task=query.get("task"),
        lane=query.get("lane"),
        states=tuple(query["state"]),
        flags=tuple(query["flag"]),
        origin=query["origin"],
        worker=query["worker"],
        due_after=query["due_after"],
        due_before=query["due_before"],
    )


async def accepted(run_id: str) -> tuple[RunView, Headers]:
    """A run that was just made, and where it can be watched."""
    async with reading() as connection:
        run = await runs.get_run(connection, run_id)
    return run, {"Location": url_for("metronome_api.get_run", run_id=run_id)}


@api.route("/runs")
@api.arguments(RunQuery, location="query")
@api.response(200, RunListSchema)
@on_loop
async def list_runs(query: dict[str, Any]) -> Slice[RunView]:
    """List runs, newest due time first."""
    async with reading() as connection:
        return await runs.list_runs(
            connection, run_filter(query), limit=query["limit"], cursor=query["cursor"]
        )


@api.route("/runs/<run_id>")
@api.arguments(NoQuery, location="query")
@api.response(200, RunDetailSchema)
@on_loop
async def get_run(_query: dict[str, Any], run_id: str) -> RunDetail:
    """One run with its attempts and the tasks that it started."""
    async with reading() as connection:
        return await runs.get_run_detail(connection, run_id)


@api.route("/runs/<run_id>/attempts")
@api.arguments(NoQuery, location="query")
@api.response(200, AttemptListSchema)
@on_loop
async def list_attempts(
    _query: dict[str, Any], run_id: str
) -> dict[str, list[AttemptView]]:
    """The attempts of a run, in the order in which they began."""
    async with reading() as connection:
        await runs.get_run(connection, run_id)
        return {"items": await runs.attempts_of(connection, run_id)}


@api.route("/runs/<run_id>/rerun", methods=["POST"])
@api.response(202, RunSchema, headers=LOCATION)
@on_loop
async def rerun(run_id: str) -> tuple[RunView, Headers]:
    """Run it again, as a run of its own; once for each ``Idempotency-Key``."""
    only(body_object())
    new_id = await asyncio.to_thread(
        Operations(state_of()).rerun,
        run_id,
        idempotency_key=idempotency_key(),
        who=caller(),
    )
    return await accepted(new_id)


@api.route("/runs/<run_id>/cancel", methods=["POST"])
@api.response(200, RunSchema)
@on_loop
async def cancel(run_id: str) -> RunView:
    """Cancel an open run; 409 when it has ended already."""
    only(body_object())
    done = await asyncio.to_thread(Operations(state_of()).cancel, run_id, who=caller())
    async with reading() as connection:
        run = await runs.get_run(connection, run_id)
    if not done:
        raise Conflict(f"The run {run_id} has ended already: it is {run.state}.")
    return run
