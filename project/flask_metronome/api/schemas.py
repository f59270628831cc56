"""What the API answers, as schemas: for writing JSON and for OpenAPI."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from marshmallow import Schema, fields, post_dump

from flask_metronome.api.bodies import DefinitionSchema
from flask_metronome.api.fields import Instant
from flask_metronome.api.links import task_in_flower
from flask_metronome.core.run import AttemptState, RunState
from flask_metronome.core.schedule import OWNERS, STATES
from flask_metronome.shown import shown_values
from flask_metronome.state import state_of


def _word(words: Iterable[str]) -> fields.String:
    return fields.String(metadata={"enum": [str(word) for word in words]})


class _WithoutSecrets(Schema):
    """What holds the arguments of a task: written without secrets."""

    @post_dump
    def _hide_secrets(self, shown: dict[str, Any], **_: Any) -> dict[str, Any]:
        return shown_values(state_of().celery, shown)


class FieldErrorSchema(Schema):
    """One wrong field of a problem."""

    field = fields.String()
    expected = fields.String()
    got = fields.Raw(allow_none=True)
    message = fields.String()


class ProblemSchema(Schema):
    """An error by RFC 9457."""

    type = fields.String()
    title = fields.String()
    status = fields.Integer()
    detail = fields.String()
    instance = fields.String()
    errors = fields.List(fields.Nested(FieldErrorSchema))


class ScheduleSchema(_WithoutSecrets, DefinitionSchema):
    """A schedule, and how far it has come."""

    id = fields.String()
    cadence_words = fields.String(metadata={"description": "The cadence in words."})
    state = _word(STATES)
    owner = _word(OWNERS)
    revision = fields.Integer(metadata={"description": "Also its ETag."})
    next_due_at = Instant(allow_none=True)
    miss_after_at = Instant(allow_none=True)
    last_due_at = Instant(allow_none=True)
    runs_made = fields.Integer()
    paused_at = Instant(allow_none=True)
    paused_by = fields.String(allow_none=True)
    paused_reason = fields.String(allow_none=True)
    error = fields.String(allow_none=True)
    error_at = Instant(allow_none=True)
    declared = fields.Dict(allow_none=True)
    created_at = Instant()
    updated_at = Instant()


class AttemptSchema(Schema):
    """One execution of a run by a worker."""

    id = fields.Integer()
    run_id = fields.String(allow_none=True)
    task_id = fields.String()
    task = fields.String()
    retries = fields.Integer()
    delivery = fields.Integer()
    state = _word(AttemptState)
    worker = fields.String()
    pid = fields.Integer(allow_none=True)
    redelivered = fields.Boolean()
    started_at = Instant()
    ended_at = Instant(allow_none=True)
    runtime_seconds = fields.Float(allow_none=True)
    error_type = fields.String(allow_none=True)
    error = fields.String(allow_none=True)
    fingerprint = fields.String(allow_none=True)
    traceback = fields.String(allow_none=True)
    retry_reason = fields.String(allow_none=True)
    retry_at = Instant(allow_none=True)
    lost_cause = fields.String(allow_none=True)
    trace_id = fields.String(allow_none=True)


class RunSchema(_WithoutSecrets):
    """One run: what was due when, and what became of it."""

    id = fields.String(metadata={"description": "Also its Celery task id."})
    schedule_key = fields.String()
    origin = fields.String()
    due_at = Instant()
    fires_at = Instant()
    state = _word(RunState)
    reason = fields.String(allow_none=True)
    task = fields.String()
    lane = fields.String()
    args = fields.List(fields.Raw())
    kwargs = fields.Dict()
    options = fields.Dict()
    revision = fields.Integer()
    catchup = fields.Boolean()
    missed = fields.Boolean()
    missed_from = Instant(allow_none=True)
    missed_to = Instant(allow_none=True)
    missed_count = fields.Integer()
    provisional = fields.Boolean()
    late = fields.Boolean()
    overrun = fields.Boolean()
    stuck = fields.Boolean()
    grace_until = Instant()
    late_after_seconds = fields.Float()
    max_runtime_seconds = fields.Float(allow_none=True)
    deadline_at = Instant(allow_none=True)
    on_lost = fields.String()
    planned_at = Instant(allow_none=True)
    published_at = Instant(allow_none=True)
    received_at = Instant(allow_none=True)
    started_at = Instant(allow_none=True)
    finished_at = Instant(allow_none=True)
    runtime_seconds = fields.Float(allow_none=True)
    worker = fields.String(allow_none=True)
    attempt_count = fields.Integer()
    retries = fields.Integer()
    duplicates = fields.Integer()
    retry_at = Instant(allow_none=True)
    error = fields.String(allow_none=True)
    error_type = fields.String(allow_none=True)
    publish_tries = fields.Integer()
    publish_error = fields.String(allow_none=True)
    updated_at = Instant()


class ChildSchema(Schema):
    """A task that a run's body started; it has a result, and no run of its own."""

    task_id = fields.String()
    task = fields.String(allow_none=True)
    state = fields.String(metadata={"description": "Celery's word."})
    parent_id = fields.String(
        allow_none=True, metadata={"description": "The run, or another child."}
    )
    group_id = fields.String(allow_none=True)
    worker = fields.String(allow_none=True)
    retries = fields.Integer(allow_none=True)
    done_at = Instant(allow_none=True)


class RunDetailSchema(RunSchema):
    """A run with its attempts and the tasks that it started."""

    flower = fields.Function(
        lambda run: task_in_flower(run.id),
        metadata={
            "type": ["string", "null"],
            "description": "Its page in Flower, if that is shown here.",
        },
    )

    attempts = fields.List(
        fields.Nested(AttemptSchema),
        metadata={"description": "Its attempts, in the order in which they began."},
    )
    children = fields.List(
        fields.Nested(ChildSchema),
        metadata={
            "description": "Tasks of its body's chains, groups, chords and calls that "
            "a worker has begun and whose results are stored; the first 200."
        },
    )


class UpcomingSchema(Schema):
    """One due time to come."""

    due_at = Instant(attribute="at")
    local = fields.Function(
        lambda due: due.local.isoformat(),
        metadata={"type": "string", "description": "On the cadence's own clock."},
    )
    note = fields.String(
        allow_none=True, metadata={"description": "What the clocks do then."}
    )


class PreviewSchema(Schema):
    """A cadence in words, and its next due times."""

    words = fields.String()
    tz = fields.String()
    items = fields.List(fields.Nested(UpcomingSchema))


class DurationsSchema(Schema):
    """How long succeeded runs took, seconds."""

    sample = fields.Integer()
    p50 = fields.Float(allow_none=True)
    p95 = fields.Float(allow_none=True)
    mean = fields.Float(allow_none=True)
    longest = fields.Float(allow_none=True)


class UnknownPeriodSchema(Schema):
    """A span in which nobody was watching."""

    from_at = Instant()
    to_at = Instant(allow_none=True, metadata={"description": "null: it goes on."})
    cause = fields.String(metadata={"enum": ["no_monitor", "no_database"]})


class StatsSchema(Schema):
    """What became of the runs due in a span."""

    since = Instant()
    until = Instant()
    runs = fields.Integer()
    states = fields.Dict(keys=fields.String(), values=fields.Integer())
    missed = fields.Integer(metadata={"description": "Due times missed."})
    late = fields.Integer()
    retries = fields.Integer()
    success_rate = fields.Float(allow_none=True)
    durations = fields.Nested(DurationsSchema, allow_none=True)
    unknown_periods = fields.List(fields.Nested(UnknownPeriodSchema))


class BeatSchema(Schema):
    """A beat, by its heartbeat."""

    id = fields.String()
    host = fields.String()
    pid = fields.Integer()
    version = fields.String()
    started_at = Instant()
    heartbeat_at = Instant()
    stopped_at = Instant(allow_none=True)
    ticks = fields.Integer()
    planned = fields.Integer()
    published = fields.Integer()
    broker_error = fields.String(allow_none=True)
    alive = fields.Boolean()


class WorkerSchema(Schema):
    """A worker, by its lease."""

    id = fields.String()
    hostname = fields.String()
    pid = fields.Integer()
    version = fields.String()
    lanes = fields.List(fields.String())
    started_at = Instant()
    heartbeat_at = Instant()
    stopped_at = Instant(allow_none=True)
    active = fields.List(fields.String())
    dropped = fields.Integer()
    alive = fields.Boolean()


class LaneSchema(Schema):
    """A lane: who uses it, who serves it, what is open in it."""

    name = fields.String()
    schedules = fields.Integer()
    workers = fields.Integer()
    waiting = fields.Integer()
    running = fields.Integer()


class TaskSchema(Schema):
    """A task name."""

    name = fields.String()
    registered = fields.Boolean()
    lane = fields.String(allow_none=True)
    schedules = fields.Integer()


class AuditSchema(Schema):
    """Who changed what, when."""

    id = fields.Integer()
    at = Instant()
    who = fields.String()
    action = fields.String()
    subject = fields.String()
    detail = fields.Raw(allow_none=True)


class BackfillSchema(Schema):
    """How many runs a backfill made."""

    name = fields.String()
    runs = fields.Integer()
