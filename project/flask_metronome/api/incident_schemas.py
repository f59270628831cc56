"""Incidents and mutes as schemas, and what is asked of them."""

from __future__ import annotations

from marshmallow import Schema, fields

from flask_metronome.api.fields import AnyOf, Flag, Instant, Text
from flask_metronome.api.list_schemas import listed
from flask_metronome.api.queries import PartQuery
from flask_metronome.core.incident import IncidentState

STATES = tuple(state.value for state in IncidentState)


class IncidentSchema(Schema):
    """One notified problem of one schedule, or of many for one reason."""

    id = fields.String()
    schedule_key = fields.String(
        allow_none=True, metadata={"description": "null: of many schedules."}
    )
    lane = fields.String(allow_none=True)
    kind = fields.String()
    state = fields.String()
    cause = fields.String(allow_none=True)
    part_of = fields.String(allow_none=True)
    opened_at = Instant()
    closed_at = Instant(allow_none=True)
    close_reason = fields.String(allow_none=True)
    bad_since = Instant()
    last_due_at = Instant(allow_none=True)
    bad_count = fields.Integer()
    first_run = fields.String(allow_none=True)
    last_run = fields.String(allow_none=True)
    happened = fields.String()
    last_good_at = Instant(allow_none=True)
    last_good_run = fields.String(allow_none=True)
    acknowledged_at = Instant(allow_none=True)
    acknowledged_by = fields.String(allow_none=True)
    note = fields.String(allow_none=True)
    muted = fields.Boolean()
    damped_at = Instant(allow_none=True)
    notified_at = Instant(allow_none=True)


class NoticeSchema(Schema):
    """One notification to one channel."""

    type = fields.String()
    channel = fields.String()
    state = fields.String()
    tries = fields.Integer()
    error = fields.String(allow_none=True)
    created_at = Instant()
    settled_at = Instant(allow_none=True)


class IncidentDetailSchema(Schema):
    """An incident with its parts and what was told of it."""

    incident = fields.Nested(IncidentSchema)
    parts = fields.List(fields.Nested(IncidentSchema))
    notices = fields.List(fields.Nested(NoticeSchema))


class MuteSchema(Schema):
    """A span in which incidents of a scope are recorded and not told."""

    id = fields.String()
    scope = fields.String(metadata={"example": "schedule:daily-report"})
    from_at = Instant()
    until_at = Instant(allow_none=True)
    who = fields.String()
    reason = fields.String(allow_none=True)
    created_at = Instant()


class MuteBody(Schema):
    """What to mute: «*», «schedule:<key>» or «lane:<lane>», from when, until when."""

    scope = Text(
        255,
        required=True,
        metadata={
            "description": "«*», «schedule:<key>» or «lane:<lane>».",
            "example": "lane:mail",
        },
    )
    from_at = Instant(load_default=None, metadata={"description": "Without: now."})
    until_at = Instant(
        load_default=None, metadata={"description": "Without: until it is ended."}
    )
    reason = Text(1000, lines=True, load_default=None)


class NoteBody(Schema):
    """A note for those who come after."""

    note = Text(2000, lines=True, load_default=None)


class IncidentQuery(PartQuery):
    """Which incidents."""

    state = AnyOf(STATES, load_default=())
    schedule = Text(190, load_default=None)
    parts = Flag(
        load_default="false",
        metadata={"description": "Also those that are part of another."},
    )


IncidentListSchema = listed("IncidentList", IncidentSchema)
MuteListSchema = listed("MuteList", MuteSchema, cursor=False)
