"""The first page: how every schedule stands, and what went wrong last."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flask import render_template
from sqlalchemy.ext.asyncio import AsyncConnection

from flask_metronome.api.definitions import cadence_words
from flask_metronome.api.parsing import query_of
from flask_metronome.api.queries import NowQuery
from flask_metronome.async_views import database_now, on_loop, reading
from flask_metronome.broker_probe import BrokerSight, see_broker
from flask_metronome.core.run import RunState
from flask_metronome.core.schedule import STATES
from flask_metronome.history import processes, runs, schedules, troubled
from flask_metronome.history.backlog import watched_until
from flask_metronome.history.incidents import IncidentView, list_incidents
from flask_metronome.history.troubled import Standings
from flask_metronome.history.values import (
    Bar,
    BeatView,
    LaneView,
    RunView,
    ScheduleView,
    Slice,
    WorkerView,
)
from flask_metronome.pages.blueprint import pages
from flask_metronome.pages.standing import Standing, standing_of
from flask_metronome.pages.strip import Strip, draw
from flask_metronome.pages.words import why
from flask_metronome.state import State, state_of

_ROWS = 50
_LATEST = 60
_TROUBLES = 8
_NAMED = 6
_BROKER_SECONDS = 1.5
_GOING_ON = ("open", "acknowledged")
_FAILED = (RunState.FAILED, RunState.TIMED_OUT, RunState.LOST)


@dataclass(frozen=True, kw_only=True, slots=True)
class ShownSchedule:
    """One schedule on the page."""

    schedule: ScheduleView
    words: str
    standing: Standing
    strip: Strip


@dataclass(frozen=True, kw_only=True, slots=True)
class Trouble:
    """The newest of the runs that went wrong in the same way, and how many."""

    run: RunView
    count: int


@dataclass(frozen=True, kw_only=True, slots=True)
class AtWork:
    """Who is at work."""

    beats: Sequence[BeatView]
    workers: Sequence[WorkerView]
    lanes: Sequence[LaneView]


@dataclass(frozen=True, kw_only=True, slots=True)
class Now:
    """All that the first page shows, of one instant."""

    now: datetime
    rows: Sequence[ShownSchedule]
    next_cursor: str | None
    standings: Standings
    at_work: AtWork
    broker: BrokerSight
    watched: bool
    missed: Sequence[Trouble]
    failed: Sequence[Trouble]
    incidents: Sequence[IncidentView]

    @property
    def count(self) -> int:
        """How many schedules there are, but for the retired."""
        states = self.standings.by_state
        return sum(states.values()) - states.get("retired", 0)

    @property
    def live_beats(self) -> int:
        """How many beats live."""
        return sum(beat.alive for beat in self.at_work.beats)

    @property
    def live_workers(self) -> int:
        """How many workers live."""
        return sum(worker.alive for worker in self.at_work.workers)

    @property
    def unserved(self) -> Sequence[LaneView]:
        """Lanes with schedules and no worker."""
        lanes = self.at_work.lanes
        return [lane for lane in lanes if lane.schedules and not lane.workers]


@pages.get("/")
@on_loop
async def now() -> str:
    """The first page."""
    query = query_of(NowQuery)
    state = state_of()
    seen = await _see(state, query)
    return render_template(
        "metronome/now.html", seen=seen, query=query, lanes=state.lanes
    )


async def _see(state: State, query: dict[str, Any]) -> Now:
    # the broker may be slow, the page must not be: both are asked at once
    broker = asyncio.create_task(asyncio.to_thread(see_broker, state, _BROKER_SECONDS))
    async with reading(state) as connection:
        moment = await database_now(connection)
        standings = await troubled.standings(connection, moment, limit=_NAMED)
        part = await schedules.list_schedules(
            connection,
            _wanted(query),
            limit=_ROWS,
            cursor=query["cursor"],
            troubled_at=moment if query["show"] == "look" else None,
        )
        strips = await schedules.strips(connection, [item.id for item in part.items])
        who = await at_work(connection, state, moment)
        missed, failed = await _latest(connection)
        until = await watched_until(connection)
        going_on = await list_incidents(connection, states=_GOING_ON, limit=_TROUBLES)
    return Now(
        now=moment,
        rows=_rows(part, strips, moment),
        next_cursor=part.next_cursor,
        standings=standings,
        at_work=who,
        broker=await broker,
        watched=until is not None and until > moment,
        missed=missed,
        failed=failed,
        incidents=going_on.items,
    )


def _wanted(query: dict[str, Any]) -> schedules.ScheduleFilter:
    show = query["show"]
    return schedules.ScheduleFilter(
        q=query["q"], lane=query["lane"], states=(show,) if show in STATES else ()
    )


async def at_work(
    connection: AsyncConnection, state: State, moment: datetime
) -> AtWork:
    """The beats, workers and lanes of an instant."""
    beats = await processes.list_beats(connection, moment)
    workers = await processes.list_workers(
        connection, moment, state.settings.lease_seconds
    )
    lanes = await processes.list_lanes(connection, state.lanes, workers)
    return AtWork(beats=beats, workers=workers, lanes=lanes)


async def _latest(
    connection: AsyncConnection,
) -> tuple[Sequence[Trouble], Sequence[Trouble]]:
    missed = await runs.list_runs(
        connection, runs.RunFilter(flags=("missed",)), limit=_LATEST
    )
    failed = await runs.list_runs(
        connection, runs.RunFilter(states=_FAILED), limit=_LATEST
    )
    return _grouped(missed.items), _grouped(failed.items)


def _grouped(found: Sequence[RunView]) -> list[Trouble]:
    """One for each schedule and cause, or one task would hide all others."""
    groups: dict[tuple[str, str], list[RunView]] = {}
    for run in found:
        groups.setdefault((run.schedule_key, why(run)), []).append(run)
    return [
        Trouble(run=same[0], count=sum(_due_times(run) for run in same))
        for same in list(groups.values())[:_TROUBLES]
    ]


def _due_times(run: RunView) -> int:
    return run.missed_count if run.missed_to is not None else 1


def _rows(
    part: Slice[ScheduleView], strips: dict[str, list[Bar]], moment: datetime
) -> list[ShownSchedule]:
    return [
        ShownSchedule(
            schedule=item,
            words=cadence_words(item.cadence),
            standing=standing_of(item, strips.get(item.id, ()), moment),
            strip=draw(strips.get(item.id, ()), moment),
        )
        for item in part.items
        if item.state != "retired" or strips.get(item.id)
    ]
