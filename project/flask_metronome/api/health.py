"""``/healthz`` (the process) and ``/readyz`` (all that it needs)."""

from __future__ import annotations

import asyncio
from typing import Any

from flask import Blueprint, Response, current_app

from flask_metronome.access import require_read
from flask_metronome.api.problems import handle_problems
from flask_metronome.async_views import database_now, reading
from flask_metronome.broker_probe import see_broker
from flask_metronome.errors import DeadlineExceeded, MetronomeError
from flask_metronome.history import processes
from flask_metronome.state import State, state_of

health = Blueprint("metronome_health", __name__)
handle_problems(health)

_READY_SECONDS = 3.0
_OK = "ok"
_UNKNOWN = "not known without the database"


@health.get("/healthz")
def healthz() -> dict[str, str]:
    """This process answers."""
    return {"status": _OK}


@health.get("/readyz")
def readyz() -> Response:
    """Whether database, broker and beats are there; 503 with the reasons."""
    require_read()
    state = state_of()
    try:
        checks = state.loop.run(_checks(state), timeout_seconds=2 * _READY_SECONDS)
    except DeadlineExceeded as error:
        checks = {"loop": str(error)}
    ready = all(said == _OK for said in checks.values())
    body: dict[str, Any] = {"status": _OK if ready else "not ready", "checks": checks}
    return Response(
        current_app.json.dumps(body),
        status=200 if ready else 503,
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )


async def _checks(state: State) -> dict[str, str]:
    seen, (database, beats) = await asyncio.gather(
        asyncio.to_thread(see_broker, state, _READY_SECONDS),
        _database_and_beats(state),
    )
    return {"database": database, "broker": seen.error or _OK, "beats": beats}


async def _database_and_beats(state: State) -> tuple[str, str]:
    looking = asyncio.ensure_future(_look(state))
    done, _ = await asyncio.wait({looking}, timeout=_READY_SECONDS)
    if done:
        return looking.result()
    # giving up a connection that stands still may take long, too: not waited for
    looking.add_done_callback(lambda task: task.cancelled() or task.exception())
    looking.cancel()
    slow = f"The database did not answer within {_READY_SECONDS:g} seconds."
    return slow, _UNKNOWN


async def _look(state: State) -> tuple[str, str]:
    try:
        async with reading(state) as connection:
            now = await database_now(connection)
            found = await processes.list_beats(connection, now)
    except MetronomeError as error:
        return str(error), _UNKNOWN
    alive = any(beat.alive for beat in found)
    return _OK, _OK if alive else "No beat has said within 20 seconds that it lives."
