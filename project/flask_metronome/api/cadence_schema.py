"""A cadence as JSON Schema: one shape for each kind, with an example."""

from __future__ import annotations

from typing import Any

from flask_metronome.core.after import STATES
from flask_metronome.core.every import UNITS
from flask_metronome.core.solar import EVENTS

_TEXT = {"type": "string"}
_INSTANT = {"type": "string", "format": "date-time"}
_TZ = {"type": "string", "description": "An IANA time zone; UTC without one."}


def _kind(kind: str, required: dict[str, Any], **optional: Any) -> dict[str, Any]:
    """The shape of one kind, and the example that its fields' examples make."""
    shapes = {**required, **optional}
    said = {
        name: shape["example"] for name, shape in shapes.items() if "example" in shape
    }
    return {
        "type": "object",
        "title": kind,
        "required": ["kind", *required],
        "properties": {"kind": {"const": kind}, **shapes},
        "additionalProperties": False,
        "example": {"kind": kind, **said},
    }


_KINDS = [
    _kind(
        "every",
        {"every": {"type": "number", "exclusiveMinimum": 0, "example": 10}},
        unit={"type": "string", "enum": list(UNITS), "example": "minutes"},
        anchor=_INSTANT,
    ),
    _kind(
        "cron",
        {"expression": {**_TEXT, "example": "0 8 * * mon-fri"}},
        tz={**_TZ, "example": "Europe/Berlin"},
        both_days={"type": "boolean"},
    ),
    _kind("once", {"at": {**_INSTANT, "example": "2027-01-31T08:00:00Z"}}),
    _kind(
        "rrule",
        {"rule": {**_TEXT, "example": "FREQ=MONTHLY;BYDAY=-1FR;BYHOUR=8"}},
        tz={**_TZ, "example": "Europe/Berlin"},
        start={**_TEXT, "example": "2027-01-01T08:00:00"},
    ),
    _kind(
        "solar",
        {
            "event": {"type": "string", "enum": list(EVENTS), "example": "sunset"},
            "lat": {"type": "number", "example": 52.52},
            "lon": {"type": "number", "example": 13.41},
        },
    ),
    _kind(
        "after",
        {"schedule": {**_TEXT, "example": "import"}},
        state={"type": "string", "enum": list(STATES), "example": "succeeded"},
    ),
]

#: For a field's metadata.
CADENCE: dict[str, Any] = {
    "description": "When it is due.",
    "oneOf": _KINDS,
    "example": _KINDS[1]["example"],
}
