"""``/schedules``: what changes them. Every change goes through the operations."""

from __future__ import annotations

import asyncio
from typing import Any

from flask import url_for

from flask_metronome.access import caller
from flask_metronome.api.blueprint import api
from flask_metronome.api.bodies import (
    BackfillBody,
    ChangesSchema,
    DefinitionSchema,
    PauseBody,
    TriggerBody,
    takes,
)
from flask_metronome.api.definitions import definition_values
from flask_metronome.api.headers import ETAG, LOCATION
from flask_metronome.api.parsing import (
    body_object,
    expected_revision,
    idempotency_key,
    load,
    only,
)
from flask_metronome.api.problems import PreconditionFailed
from flask_metronome.api.runs import accepted
from flask_metronome.api.schedules import Headers, shown
from flask_metronome.api.schemas import BackfillSchema, RunSchema, ScheduleSchema
from flask_metronome.async_views import on_loop, reading
from flask_metronome.core.schedule import Definition
from flask_metronome.errors import (
    AlreadyExists,
    Conflict,
    InputInvalid,
    ScheduleInvalid,
)
from flask_metronome.history import schedules
from flask_metronome.history.values import RunView
from flask_metronome.operations import Operations
from flask_metronome.state import state_of

Shown = tuple[dict[str, Any], Headers]


@api.route("/schedules", methods=["POST"])
@takes(DefinitionSchema)
@api.response(201, ScheduleSchema, headers={**ETAG, **LOCATION})
@on_loop
async def add_schedule() -> tuple[dict[str, Any], int, Headers]:
    """Add a schedule; it takes effect within a second."""
    definition = await _defined(body_object())
    await asyncio.to_thread(
        Operations(state_of()).add, definition, owner="api", who=caller()
    )
    values, headers = await _reread(definition.key)
    location = url_for("metronome_api.get_schedule", key=definition.key)
    return values, 201, {**headers, "Location": location}


@api.route("/schedules/<key>", methods=["PUT"])
@takes(DefinitionSchema)
@api.response(200, ScheduleSchema, headers=ETAG)
@on_loop
async def replace_schedule(key: str) -> Shown:
    """Say a schedule anew; what is not given is set back to its default."""
    body = body_object()
    _same_key(key, body)
    definition = await _defined({**body, "key": key})
    return await _replace(key, definition, expected_revision())


@api.route("/schedules/<key>", methods=["PATCH"])
@takes(ChangesSchema)
@api.response(200, ScheduleSchema, headers=ETAG)
@on_loop
async def change_schedule(key: str) -> Shown:
    """Change some fields of a schedule; the others stay."""
    body = body_object()
    _same_key(key, body)
    async with reading() as connection:
        current = await schedules.get_schedule(connection, key)
    wanted = expected_revision()
    if wanted is not None and wanted != current.revision:
        raise PreconditionFailed(_moved_on(key, wanted))
    definition = await _defined({**definition_values(current), **body})
    # never over a change that came between our read and our write
    return await _replace(key, definition, current.revision, stated=wanted is not None)


@api.route("/schedules/<key>", methods=["DELETE"])
@api.response(204)
@on_loop
async def remove_schedule(key: str) -> None:
    """Remove a schedule; one that has runs is retired, its history stays."""
    only(body_object())
    wanted = expected_revision()
    try:
        await asyncio.to_thread(
            Operations(state_of()).remove, key, who=caller(), expected_revision=wanted
        )
    except Conflict as error:
        if wanted is not None:
            raise PreconditionFailed(str(error)) from error
        raise


@api.route("/schedules/<key>/pause", methods=["POST"])
@takes(PauseBody, required=False)
@api.response(200, ScheduleSchema, headers=ETAG)
@on_loop
async def pause(key: str) -> Shown:
    """Stop making runs until it is resumed; nothing is caught up then."""
    reason = load(PauseBody, body_object())["reason"]
    await asyncio.to_thread(
        Operations(state_of()).pause, key, reason=reason, who=caller()
    )
    return await _reread(key)


@api.route("/schedules/<key>/resume", methods=["POST"])
@api.response(200, ScheduleSchema, headers=ETAG)
@on_loop
async def resume(key: str) -> Shown:
    """Go on with the first due time after now."""
    only(body_object())
    await asyncio.to_thread(Operations(state_of()).resume, key, who=caller())
    return await _reread(key)


@api.route("/schedules/<key>/trigger", methods=["POST"])
@takes(TriggerBody, required=False)
@api.response(202, RunSchema, headers=LOCATION)
@on_loop
async def trigger(key: str) -> tuple[RunView, Headers]:
    """Run it now, beside its cadence; once for each ``Idempotency-Key``."""
    body = body_object()
    only(body, "args", "kwargs")
    _of_kind(body, "args", list, "a list")
    _of_kind(body, "kwargs", dict, "an object")
    run_id = await asyncio.to_thread(
        Operations(state_of()).trigger,
        key,
        idempotency_key=idempotency_key(),
        args=body.get("args"),
        kwargs=body.get("kwargs"),
        who=caller(),
    )
    return await accepted(run_id)


@api.route("/schedules/<key>/backfill", methods=["POST"])
@takes(BackfillBody)
@api.response(202, BackfillSchema)
@on_loop
async def backfill(key: str) -> dict[str, Any]:
    """Run the due times after ``after`` and up to ``until`` once more."""
    body = load(BackfillBody, body_object())
    if body["until"] <= body["after"]:
        raise InputInvalid("until", "an instant after «after»", str(body["until"]))
    name = body["name"] or idempotency_key()
    made = await asyncio.to_thread(
        Operations(state_of()).backfill,
        key,
        after=body["after"],
        until=body["until"],
        name=name,
        rate_per_second=body["rate_per_second"],
        in_flight=body["in_flight"],
        who=caller(),
    )
    return {"name": name, "runs": made}


async def _defined(values: dict[str, Any]) -> Definition:
    # in a thread: the first time it imports the app's tasks
    return await asyncio.to_thread(Operations(state_of()).define, values)


async def _replace(
    key: str, definition: Definition, revision: int | None, *, stated: bool = True
) -> Shown:
    try:
        await asyncio.to_thread(
            Operations(state_of()).replace,
            key,
            definition,
            expected_revision=revision,
            who=caller(),
        )
    except AlreadyExists:
        raise
    except Conflict as error:
        if revision is not None and stated:
            raise PreconditionFailed(str(error)) from error
        raise
    return await _reread(key)


async def _reread(key: str) -> Shown:
    async with reading() as connection:
        return shown(await schedules.get_schedule(connection, key))


def _same_key(key: str, body: dict[str, Any]) -> None:
    if body.get("key", key) != key:
        raise ScheduleInvalid("key", f"{key}, as in the URL", body["key"])


def _of_kind(body: dict[str, Any], name: str, kind: type, expected: str) -> None:
    if body.get(name) is not None and not isinstance(body[name], kind):
        raise InputInvalid(name, expected, body[name])


def _moved_on(key: str, wanted: int) -> str:
    return f"The schedule {key!r} is no longer at revision {wanted}: read it again."
