"""Pages of runs: a list to look through, and the life of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flask import Request, render_template, request, url_for

from flask_metronome.api.links import task_in_flower
from flask_metronome.api.parsing import query_of
from flask_metronome.api.queries import RUN_STATES, RunPageQuery
from flask_metronome.api.runs import run_filter
from flask_metronome.async_views import database_now, on_loop, reading
from flask_metronome.core.death import DeadReason
from flask_metronome.core.run import OPEN
from flask_metronome.history import audit, incidents, runs
from flask_metronome.history.incidents import IncidentView
from flask_metronome.history.runs import FLAGS, ORIGINS, Neighbours
from flask_metronome.history.values import AuditLine, ChildView, RunDetail
from flask_metronome.pages.blueprint import pages
from flask_metronome.pages.waterfall import lay_out
from flask_metronome.shown import as_shown
from flask_metronome.state import state_of

_CHANGES = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class SeenRun:
    """All that the page shows of one run, of one instant."""

    now: datetime
    run: RunDetail
    neighbours: Neighbours
    children: Sequence[ChildView]
    incidents: Sequence[IncidentView]
    changes: Sequence[AuditLine]

    @property
    def is_open(self) -> bool:
        """Whether it has not ended."""
        return self.run.state in OPEN

    @property
    def is_dead_letter(self) -> bool:
        """Whether a message of it lies among the dead letters."""
        reasons = {reason.value for reason in DeadReason}
        return self.run.error_type == "DeadLetter" or (
            self.run.reason in reasons - {DeadReason.EXPIRED}
        )


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
        origins=ORIGINS,
        lanes=state_of().lanes,
        filtered=any(map(query.get, _FILTERS)),
    )


_FILTERS = (
    "schedule",
    "task",
    "lane",
    "state",
    "flag",
    "origin",
    "worker",
    "due_after",
    "due_before",
)


@pages.get("/runs/<run_id>")
@on_loop
async def run(run_id: str) -> str:
    """One run: its phases, its attempts, its errors."""
    seen = await _see(run_id)
    found = seen.run
    return render_template(
        "metronome/run.html",
        seen=seen,
        run=as_shown(state_of().celery, found),
        waterfall=lay_out(found, seen.now),
        flower=task_in_flower(run_id),
        now=seen.now,
    )


async def _see(run_id: str) -> SeenRun:
    async with reading() as connection:
        now = await database_now(connection)
        found = await runs.get_run_detail(connection, run_id)
        beside = await runs.neighbours_of(connection, found)
        told = await incidents.incidents_of_run(connection, found)
        changes = await audit.list_audit(connection, subject=run_id, limit=_CHANGES)
    return SeenRun(
        now=now,
        run=found,
        neighbours=beside,
        children=found.children,
        incidents=told,
        changes=changes.items,
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
