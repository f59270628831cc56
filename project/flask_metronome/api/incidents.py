"""``/incidents`` and ``/mutes``: what went wrong, and who wants to hear of it."""

from __future__ import annotations

import asyncio
from typing import Any

from flask_metronome.access import caller
from flask_metronome.api.blueprint import api
from flask_metronome.api.bodies import takes
from flask_metronome.api.incident_schemas import (
    IncidentDetailSchema,
    IncidentListSchema,
    IncidentQuery,
    MuteBody,
    MuteListSchema,
    MuteSchema,
    NoteBody,
)
from flask_metronome.api.parsing import body_object, load
from flask_metronome.api.queries import NoQuery
from flask_metronome.async_views import database_now, on_loop, reading
from flask_metronome.history import incidents
from flask_metronome.history.incidents import (
    IncidentDetail,
    IncidentView,
    MuteView,
)
from flask_metronome.history.values import Slice
from flask_metronome.incident_operations import IncidentOperations
from flask_metronome.state import state_of


@api.route("/incidents")
@api.arguments(IncidentQuery, location="query")
@api.response(200, IncidentListSchema)
@on_loop
async def list_incidents(query: dict[str, Any]) -> Slice[IncidentView]:
    """List incidents, newest first; those that are part of another on request."""
    async with reading() as connection:
        return await incidents.list_incidents(
            connection,
            states=tuple(query["state"]),
            schedule=query["schedule"],
            parts=query["parts"] == "true",
            limit=query["limit"],
            cursor=query["cursor"],
        )


@api.route("/incidents/<incident_id>")
@api.arguments(NoQuery, location="query")
@api.response(200, IncidentDetailSchema)
@on_loop
async def get_incident(_query: dict[str, Any], incident_id: str) -> IncidentDetail:
    """One incident, with its parts and what was told of it."""
    return await _detail(incident_id)


@api.route("/incidents/<incident_id>/acknowledge", methods=["POST"])
@takes(NoteBody, required=False)
@api.response(200, IncidentDetailSchema)
@on_loop
async def acknowledge(incident_id: str) -> IncidentDetail:
    """Take note of it, with a ``note``: nobody is reminded until it closes."""
    note = load(NoteBody, body_object())["note"]
    done = IncidentOperations(state_of()).acknowledge
    await asyncio.to_thread(done, incident_id, note=note, who=caller())
    return await _detail(incident_id)


@api.route("/incidents/<incident_id>/close", methods=["POST"])
@takes(NoteBody, required=False)
@api.response(200, IncidentDetailSchema)
@on_loop
async def close(incident_id: str) -> IncidentDetail:
    """Close it by hand; the next bad run opens another."""
    note = load(NoteBody, body_object())["note"]
    done = IncidentOperations(state_of()).close
    await asyncio.to_thread(done, incident_id, note=note, who=caller())
    return await _detail(incident_id)


@api.route("/mutes")
@api.arguments(NoQuery, location="query")
@api.response(200, MuteListSchema)
@on_loop
async def list_mutes(_query: dict[str, Any]) -> dict[str, list[MuteView]]:
    """The mutes and maintenance windows that hold or are to come."""
    async with reading() as connection:
        now = await database_now(connection)
        return {"items": await incidents.list_mutes(connection, now)}


@api.route("/mutes", methods=["POST"])
@takes(MuteBody)
@api.response(201, MuteSchema)
@on_loop
async def mute() -> Any:
    """Mute a scope: its incidents are recorded, and nobody is told."""
    asked = load(MuteBody, body_object())
    scope = asked.pop("scope")
    return await asyncio.to_thread(
        IncidentOperations(state_of()).mute, scope, **asked, who=caller()
    )


@api.route("/mutes/<mute_id>", methods=["DELETE"])
@api.response(204)
@on_loop
async def unmute(mute_id: str) -> None:
    """End a mute."""
    done = IncidentOperations(state_of()).unmute
    await asyncio.to_thread(done, mute_id, who=caller())


async def _detail(incident_id: str) -> IncidentDetail:
    async with reading() as connection:
        return await incidents.get_incident(connection, incident_id)
