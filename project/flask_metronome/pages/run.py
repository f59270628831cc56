"""Pages of runs: a list to look through, and the life of one."""

from __future__ import annotations

from typing import Any

from flask import Request, render_template, request, url_for

from flask_metronome.api.parsing import query_of
from flask_metronome.api.queries import RUN_STATES, RunPageQuery
from flask_metronome.api.runs import run_filter
from flask_metronome.async_views import database_now, on_loop, reading
from flask_metronome.history import runs
from flask_metronome.history.runs import FLAGS
from flask_metronome.pages.blueprint import pages
from flask_metronome.pages.waterfall import lay_out
from flask_metronome.shown import as_shown
from flask_metronome.state import State, state_of


@pages.get("/runs")
@on_loop
async def list_runs() -> str:
    """Runs by filter, newest due time first."""
    query = query_of(RunPageQuery)
    async with reading() as connection:
        now = await database_now(connection)
        part = await runs.list_runs(
            connection, run_filter(query), limit=query["limit"], cursor=query["cursor"]
        )
    return render_template(
        "metronome/runs.html",
        part=part,
        now=now,
        query=query,
        older=_older(request, part.next_cursor),
        states=RUN_STATES,
        flags=FLAGS,
        lanes=state_of().lanes,
        page_seconds=state_of().settings.page_seconds,
    )


@pages.get("/runs/<run_id>")
@on_loop
async def run(run_id: str) -> str:
    """One run: its phases, its attempts, its errors."""
    async with reading() as connection:
        now = await database_now(connection)
        found = await runs.get_run_detail(connection, run_id)
    return render_template(
        "metronome/run.html",
        run=as_shown(state_of().celery, found),
        waterfall=lay_out(found, now),
        flower=_flower(state_of(), run_id),
        now=now,
        page_seconds=state_of().settings.page_seconds,
    )


def _older(asked: Request, cursor: str | None) -> str | None:
    if cursor is None:
        return None
    kept: dict[str, Any] = {
        name: asked.args.getlist(name)
        for name in asked.args
        if name != "cursor" and any(asked.args.getlist(name))
    }
    return url_for("metronome_pages.list_runs", **kept, cursor=cursor)


def _flower(state: State, run_id: str) -> str | None:
    if state.settings.flower_url is None:
        return None
    return f"{state.settings.flower_url.rstrip('/')}/task/{run_id}"
