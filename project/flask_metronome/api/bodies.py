"""What the API takes as bodies, as schemas; and how a view documents its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from marshmallow import Schema, fields

from flask_metronome.api.blueprint import api
from flask_metronome.api.cadence_schema import CADENCE
from flask_metronome.api.fields import Instant, Text
from flask_metronome.core.schedule import (
    CATCHUPS,
    MOST_CAUGHT_UP,
    ON_LOST,
    OVERLAPS,
)

_MARK = (
    "Secrets are shown as [redacted], here as in args and options; "
    "sent back as that, they stay what they are."
)


def takes(schema: type[Schema], *, required: bool = True) -> Any:
    """Document a view's body, which the view reads itself.

    :param required: whether the view refuses to be asked without one.
    """
    content = {"application/json": {"schema": schema}}
    return api.doc(requestBody={"required": required, "content": content})


def seconds(default: str, **options: Any) -> fields.Float:
    """A span; what is taken without one is said in words."""
    return fields.Float(metadata={"description": f"Seconds; {default}."}, **options)


def word(words: Sequence[str], said: str) -> fields.String:
    """One of a few words, the first unless it is said."""
    return fields.String(metadata={"enum": list(words), "description": said})


class DefinitionSchema(Schema):
    """What a person says about a schedule."""

    key = fields.String(required=True, metadata={"example": "daily-report"})
    task = fields.String(required=True, metadata={"example": "shop.send_report"})
    cadence = fields.Dict(required=True, metadata=CADENCE)
    lane = fields.String(
        metadata={"example": "reports", "description": "By default the task's own."}
    )
    args = fields.List(fields.Raw(), metadata={"example": []})
    kwargs = fields.Dict(
        metadata={"example": {"to": "sales@shop.example"}, "description": _MARK}
    )
    description = fields.String(allow_none=True)
    start_at = Instant(allow_none=True, metadata={"description": "Not due before."})
    end_at = Instant(allow_none=True, metadata={"description": "Not due after."})
    max_runs = fields.Integer(
        allow_none=True,
        metadata={"description": "Runs, then it is finished.", "minimum": 1},
    )
    jitter_seconds = seconds("put off by up to that, by a hash of the due time")
    catchup = word(CATCHUPS, "What becomes of due times that were missed.")
    catchup_limit = fields.Integer(
        metadata={
            "description": "The most runs of catchup «all».",
            "minimum": 1,
            "maximum": MOST_CAUGHT_UP,
        }
    )
    catchup_window_seconds = seconds("how far back catchup «all» looks")
    grace_seconds = seconds("not published by then: missed", allow_none=True)
    start_deadline_seconds = seconds("not started by then: expired", allow_none=True)
    late_after_seconds = seconds("started later than that: late", allow_none=True)
    max_runtime_seconds = seconds("running longer: overrun", allow_none=True)
    overlap = word(OVERLAPS, "What becomes of a run while another is not over.")
    concurrency_key = fields.String(
        allow_none=True,
        metadata={"description": "Runs of one key exclude each other."},
    )
    on_lost = word(ON_LOST, "What becomes of a run whose worker died.")
    bad_in_a_row = fields.Integer(
        metadata={"description": "Bad runs that open an incident.", "minimum": 1}
    )
    good_to_close = fields.Integer(
        metadata={"description": "Good runs that close it.", "minimum": 1}
    )
    options = fields.Dict(metadata={"example": {"priority": 5}})


class ChangesSchema(DefinitionSchema):
    """The fields of a schedule to change; the others stay."""

    key = fields.String()
    task = fields.String()
    cadence = fields.Dict(metadata=CADENCE)


class PreviewAskedSchema(Schema):
    """A cadence, and how many of its due times to show."""

    cadence = fields.Dict(required=True, metadata=CADENCE)
    start_at = Instant()
    end_at = Instant()
    jitter_seconds = seconds("as of a schedule")
    count = fields.Integer(metadata={"minimum": 1, "maximum": 200, "default": 10})
    after = Instant(metadata={"description": "By default, now."})


class TriggerBody(Schema):
    """With which arguments; by default the schedule's own."""

    args = fields.List(fields.Raw(), allow_none=True)
    kwargs = fields.Dict(allow_none=True)


class PauseBody(Schema):
    """Why it is paused."""

    reason = Text(
        500, lines=True, load_default=None, metadata={"example": "ticket 481"}
    )


class BackfillBody(Schema):
    """Which span of past due times to run."""

    after = Instant(required=True, metadata={"description": "Exclusive."})
    until = Instant(required=True, metadata={"description": "Inclusive."})
    name = Text(
        100,
        load_default=None,
        metadata={"description": "The same name and due time make only one run."},
    )
    rate_per_second = fields.Float(load_default=1.0)
    in_flight = fields.Integer(load_default=10, strict=True)
