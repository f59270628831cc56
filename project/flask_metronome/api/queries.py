"""What may stand in a query string, list by list."""

from __future__ import annotations

from marshmallow import Schema

from flask_metronome.api.fields import (
    AnyOf,
    Flag,
    FormInstant,
    Instant,
    OneOf,
    Text,
    Whole,
)
from flask_metronome.core.run import RunState
from flask_metronome.core.schedule import STATES
from flask_metronome.history.cursor import MOST, USUAL
from flask_metronome.history.runs import FLAGS

#: Spans that statistics are made over, in seconds.
WINDOWS = {"1h": 3600, "1d": 86_400, "7d": 7 * 86_400, "30d": 30 * 86_400}
#: Spans to come, in seconds.
SPANS = {"6h": 6 * 3600, "1d": 86_400, "7d": 7 * 86_400}
RUN_STATES = tuple(state.value for state in RunState)


class NoQuery(Schema):
    """No parameters at all."""


class PartQuery(Schema):
    """Which part of a list."""

    limit = Whole(1, MOST, load_default=USUAL)
    cursor = Text(1000, load_default=None)


class ScheduleQuery(PartQuery):
    """Which schedules."""

    task = Text(load_default=None)
    lane = Text(load_default=None)
    enabled = Flag(load_default=None)
    state = AnyOf(STATES, load_default=())
    q = Text(190, load_default=None)


class ScheduleRunQuery(PartQuery):
    """Which runs of one schedule."""

    state = AnyOf(RUN_STATES, load_default=())
    flag = AnyOf(FLAGS, load_default=())
    origin = Text(190, load_default=None)
    worker = Text(load_default=None)
    due_after = Instant(load_default=None)
    due_before = Instant(load_default=None)


class RunQuery(ScheduleRunQuery):
    """Which runs."""

    schedule = Text(190, load_default=None)
    task = Text(load_default=None)
    lane = Text(load_default=None)


class UpcomingQuery(Schema):
    """How many due times to come, and from when on."""

    limit = Whole(1, MOST, load_default=10)
    after = Instant(load_default=None)


class WindowQuery(Schema):
    """Over which span up to now."""

    window = OneOf(tuple(WINDOWS), load_default="1d")


class AuditQuery(PartQuery):
    """Which lines of the audit."""

    subject = Text(190, load_default=None)


class PreviewBody(Schema):
    """How many due times to preview, and from when on."""

    count = Whole(1, MOST, load_default=10)
    after = Instant(load_default=None)


class NowQuery(Schema):
    """Which schedules the first page shows."""

    q = Text(190, load_default=None)
    lane = Text(63, load_default=None)
    show = OneOf(("look", *STATES), load_default=None)
    cursor = Text(1000, load_default=None)


class ComingQuery(Schema):
    """Over which span to come, and of which lane."""

    span = OneOf(tuple(SPANS), load_default="1d")
    lane = Text(63, load_default=None)


class RunPageQuery(RunQuery):
    """The same filters as in the API, from a form: instants without Z are UTC."""

    due_after = FormInstant(load_default=None)
    due_before = FormInstant(load_default=None)
