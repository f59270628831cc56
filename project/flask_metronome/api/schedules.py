"""``/schedules``: reads, and what can be known of the times to come."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from flask_metronome.api.blueprint import api
from flask_metronome.api.bodies import PreviewAskedSchema, takes
from flask_metronome.api.definitions import cadence_words, definition_of, runs_left
from flask_metronome.api.headers import ETAG
from flask_metronome.api.list_schemas import RunListSchema, ScheduleListSchema
from flask_metronome.api.parsing import body_object, load
from flask_metronome.api.queries import (
    WINDOWS,
    NoQuery,
    PreviewBody,
    ScheduleQuery,
    ScheduleRunQuery,
    UpcomingQuery,
    WindowQuery,
)
from flask_metronome.api.runs import run_filter
from flask_metronome.api.schemas import PreviewSchema, ScheduleSchema, StatsSchema
from flask_metronome.async_views import database_now, on_loop, reading
from flask_metronome.core.preview import preview as preview_of
from flask_metronome.core.preview import zone_of
from flask_metronome.core.schedule import Definition
from flask_metronome.core.timing import Timing
from flask_metronome.history import runs, schedules
from flask_metronome.history.stats import stats_between
from flask_metronome.history.values import RunView, ScheduleView, Slice, Stats, names_of

Headers = dict[str, str]
_NAMES = names_of(ScheduleView)
_OBJECTS = ("cadence", "kwargs", "options", "declared")


def shown(schedule: ScheduleView) -> tuple[dict[str, Any], Headers]:
    """A schedule as the API answers it, with its ETag."""
    return as_values(schedule), {"ETag": f'"{schedule.revision}"'}


def as_values(schedule: ScheduleView) -> dict[str, Any]:
    """A schedule's fields, and its cadence in words."""
    values = {name: _in_shape(name, getattr(schedule, name)) for name in _NAMES}
    return {**values, "cadence_words": cadence_words(schedule.cadence)}


def _in_shape(name: str, value: Any) -> Any:
    """A field as the schema has it, also where somebody wrote nonsense into SQL."""
    if name == "args":
        return value if isinstance(value, list) else [value]
    if name in _OBJECTS and not isinstance(value, Mapping | None):
        return {"unreadable": value}
    return value


@api.route("/schedules")
@api.arguments(ScheduleQuery, location="query")
@api.response(200, ScheduleListSchema)
@on_loop
async def list_schedules(query: dict[str, Any]) -> dict[str, Any]:
    """List schedules by key."""
    enabled = query["enabled"]
    wanted = schedules.ScheduleFilter(
        task=query["task"],
        lane=query["lane"],
        enabled=None if enabled is None else enabled == "true",
        states=tuple(query["state"]),
        q=query["q"],
    )
    async with reading() as connection:
        part = await schedules.list_schedules(
            connection, wanted, limit=query["limit"], cursor=query["cursor"]
        )
    return {"items": map(as_values, part.items), "next_cursor": part.next_cursor}


@api.route("/schedules/<key>")
@api.arguments(NoQuery, location="query")
@api.response(200, ScheduleSchema, headers=ETAG)
@on_loop
async def get_schedule(
    _query: dict[str, Any], key: str
) -> tuple[dict[str, Any], Headers]:
    """One schedule; its ``ETag`` is what ``If-Match`` takes."""
    async with reading() as connection:
        return shown(await schedules.get_schedule(connection, key))


@api.route("/schedules/<key>/runs")
@api.arguments(ScheduleRunQuery, location="query")
@api.response(200, RunListSchema)
@on_loop
async def list_schedule_runs(query: dict[str, Any], key: str) -> Slice[RunView]:
    """The runs of one schedule, newest due time first."""
    wanted = run_filter(query, schedule=key)
    async with reading() as connection:
        return await runs.list_runs(
            connection, wanted, limit=query["limit"], cursor=query["cursor"]
        )


@api.route("/schedules/<key>/upcoming")
@api.arguments(UpcomingQuery, location="query")
@api.response(200, PreviewSchema)
@on_loop
async def list_upcoming(query: dict[str, Any], key: str) -> dict[str, Any]:
    """The next due times of one schedule, with what the clocks do then.

    None while it is not active, and no more than ``max_runs`` leaves.
    """
    async with reading() as connection:
        now = await database_now(connection)
        found = await schedules.get_schedule(connection, key)
    timing = definition_of(found).timing
    count = runs_left(found, query["limit"])
    return _preview(timing, query["after"] or now, count)


@api.route("/schedules/<key>/stats")
@api.arguments(WindowQuery, location="query")
@api.response(200, StatsSchema)
@on_loop
async def schedule_stats(query: dict[str, Any], key: str) -> Stats:
    """What became of its runs due in the last hour, day, week or month."""
    async with reading() as connection:
        schedule_id = await runs.schedule_id(connection, key)
        now = await database_now(connection)
        since = now - timedelta(seconds=WINDOWS[query["window"]])
        return await stats_between(connection, since, now, schedule_id=schedule_id)


@api.route("/schedules/preview", methods=["POST"])
@takes(PreviewAskedSchema)
@api.response(200, PreviewSchema)
@on_loop
async def preview() -> dict[str, Any]:
    """The next due times of a cadence that need not exist; changes nothing."""
    body = body_object()
    asked: dict[str, Any] = {
        name: body.pop(name) for name in ("count", "after") if name in body
    }
    options = load(PreviewBody, asked)
    definition = Definition.from_dict({"key": "preview", "task": "preview", **body})
    after = options["after"]
    if after is None:
        async with reading() as connection:
            after = await database_now(connection)
    return _preview(definition.timing, after, options["count"])


def _preview(timing: Timing, after: Any, count: int) -> dict[str, Any]:
    return {
        "words": timing.cadence.words(),
        "tz": zone_of(timing),
        "items": preview_of(timing, after, count),
    }
