"""The incidents: those that are open, those that were, and one of them."""

from __future__ import annotations

from flask import render_template

from flask_metronome.api.incident_schemas import STATES, IncidentQuery
from flask_metronome.api.parsing import query_of
from flask_metronome.async_views import database_now, on_loop, reading
from flask_metronome.core.notice import cause_words
from flask_metronome.history import audit, incidents
from flask_metronome.history.incidents import IncidentView
from flask_metronome.pages.actions import SPANS
from flask_metronome.pages.blueprint import pages

_KINDS = {
    "failed": "failed",
    "missed": "was missed",
    "stuck": "is stuck",
    "blocked": "is blocked by a run that does not end",
}
_CHANGES = 10
_TONES = {"missed": "missed", "blocked": "warn"}


@pages.get("/incidents")
@on_loop
async def list_incidents() -> str:
    """The incidents, newest first."""
    query = query_of(IncidentQuery)
    async with reading() as connection:
        now = await database_now(connection)
        part = await incidents.list_incidents(
            connection,
            states=tuple(query["state"]),
            schedule=query["schedule"],
            limit=query["limit"],
            cursor=query["cursor"],
        )
        quiet = await incidents.list_mutes(connection, now)
    return render_template(
        "metronome/incidents.html",
        part=part,
        mutes=quiet,
        query=query,
        states=STATES,
        spans=SPANS,
        now=now,
    )


@pages.get("/incidents/<incident_id>")
@on_loop
async def incident(incident_id: str) -> str:
    """One incident."""
    async with reading() as connection:
        now = await database_now(connection)
        found = await incidents.get_incident(connection, incident_id)
        changes = await audit.list_audit(
            connection, subject=incident_id, limit=_CHANGES
        )
    return render_template(
        "metronome/incident.html",
        found=found,
        incident=found.incident,
        scope=_scope(found.incident),
        spans=SPANS,
        changes=changes.items,
        now=now,
    )


@pages.app_template_filter("metronome_incident")
def incident_words(found: IncidentView) -> str:
    """An incident in a few words."""
    if found.schedule_key is None:
        words = cause_words(found.cause or "")
        return words[:1].upper() + words[1:]
    return f"{found.schedule_key} {_KINDS.get(found.kind, found.kind)}"


@pages.app_template_filter("metronome_incident_reason")
def incident_reason(found: IncidentView) -> str:
    """What happened, where its name does not say so: then how many it is about."""
    if found.schedule_key is not None or found.happened != cause_words(
        found.cause or ""
    ):
        return found.happened
    return f"{found.bad_count} schedule{'' if found.bad_count == 1 else 's'}"


@pages.app_template_filter("metronome_incident_tone")
def incident_tone(found: IncidentView) -> str:
    """The look of an incident."""
    return "quiet" if found.state == "closed" else _TONES.get(found.kind, "bad")


def _scope(found: IncidentView) -> str:
    """What to mute, to hear no more of it."""
    if found.schedule_key is not None:
        return f"schedule:{found.schedule_key}"
    lane = (found.cause or "").removeprefix("lane:")
    return f"lane:{lane}" if lane != (found.cause or "") else "*"
