"""Lists, as schemas: their items, and the cursor where they go on."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, fields

from flask_metronome.api.schemas import (
    AttemptSchema,
    AuditSchema,
    BeatSchema,
    LaneSchema,
    RunSchema,
    ScheduleSchema,
    TaskSchema,
    WorkerSchema,
)


def listed(name: str, item: type[Schema], *, cursor: bool = True) -> type[Schema]:
    """The schema of a list: ``items``, and ``next_cursor`` where it goes on."""
    shape: dict[str, fields.Field[Any]] = {"items": fields.List(fields.Nested(item))}
    if cursor:
        shape["next_cursor"] = fields.String(
            allow_none=True, metadata={"description": "null at the end."}
        )
    return Schema.from_dict(shape, name=name)


ScheduleListSchema = listed("ScheduleList", ScheduleSchema)
RunListSchema = listed("RunList", RunSchema)
AuditListSchema = listed("AuditList", AuditSchema)
AttemptListSchema = listed("AttemptList", AttemptSchema, cursor=False)
BeatListSchema = listed("BeatList", BeatSchema, cursor=False)
WorkerListSchema = listed("WorkerList", WorkerSchema, cursor=False)
LaneListSchema = listed("LaneList", LaneSchema, cursor=False)
TaskListSchema = listed("TaskList", TaskSchema, cursor=False)
