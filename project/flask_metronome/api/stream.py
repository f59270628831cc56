"""``GET /stream``: what changes, as it changes, by server-sent events.

WSGI has a thread for each answer, so a stream holds one for as long as it
lasts. Hence a process has only so many streams at once, and each ends after a
while; its client begins the next where that one ended. Between two looks a
stream holds no connection to the database.
"""

from __future__ import annotations

import random
import time
from collections.abc import Generator, Iterator
from datetime import timedelta
from typing import Any

from flask import Response, request
from marshmallow import Schema, fields

from flask_metronome.api.blueprint import api
from flask_metronome.api.fields import Instant, Text
from flask_metronome.api.incident_schemas import IncidentSchema
from flask_metronome.async_views import database_now, reading
from flask_metronome.errors import Busy, InputInvalid, MetronomeError
from flask_metronome.history.changes import Change, ChangeFilter, Changes, Look
from flask_metronome.history.cursor import mark_of, read_cursor, write_cursor
from flask_metronome.history.runs import schedule_id
from flask_metronome.state import State, state_of

#: Between two looks; and after one that failed.
PAUSE_SECONDS = 1.0
PAUSE_AFTER_FAILURE_SECONDS = 3.0
#: An idle stream says so, which also finds out that its client is gone.
SILENCE_SECONDS = 5.0
#: After which a client comes back.
RETRY_MILLISECONDS = 2000
#: What is older is not told again.
LONGEST_RESUME = timedelta(minutes=10)


class StreamQuery(Schema):
    """Whose changes."""

    schedule = Text(190, load_default=None)
    lane = Text(load_default=None)


class RunChangeSchema(Schema):
    """A run in short."""

    id = fields.String()
    schedule_key = fields.String()
    origin = fields.String()
    due_at = Instant()
    state = fields.String()
    reason = fields.String(allow_none=True)
    task = fields.String()
    lane = fields.String()
    catchup = fields.Boolean()
    missed = fields.Boolean()
    missed_count = fields.Integer()
    late = fields.Boolean()
    overrun = fields.Boolean()
    stuck = fields.Boolean()
    published_at = Instant(allow_none=True)
    started_at = Instant(allow_none=True)
    finished_at = Instant(allow_none=True)
    runtime_seconds = fields.Float(allow_none=True)
    worker = fields.String(allow_none=True)
    attempt_count = fields.Integer()
    retries = fields.Integer()
    error_type = fields.String(allow_none=True)
    updated_at = Instant()


class ScheduleChangeSchema(Schema):
    """What somebody did to a schedule, and what it is now."""

    key = fields.String()
    action = fields.String()
    state = fields.String()
    task = fields.String(allow_none=True)
    lane = fields.String(allow_none=True)
    revision = fields.Integer(allow_none=True)
    next_due_at = Instant(allow_none=True)
    error = fields.String(allow_none=True)


_SCHEMAS: dict[str, Schema] = {
    "run": RunChangeSchema(),
    "incident": IncidentSchema(),
    "schedule": ScheduleChangeSchema(),
}
_EXAMPLE = (
    'event: run\nid: WyI…\ndata: {"id": "…", "schedule_key": "import", '
    '"state": "succeeded", …}\n\n'
)


@api.route("/stream")
@api.arguments(StreamQuery, location="query")
@api.response(
    200,
    {"type": "string"},
    content_type="text/event-stream",
    description="`event: run|incident|schedule`, `id:` where to go on, `data:` the "
    "thing as it is now, in short. Told at least once; a new stream begins some "
    "seconds back and with all open incidents. `event: reset`: what was missed is too "
    "much to be told, read the lists again. A stream ends by itself and is begun "
    "again by its client; 503 when this process has no thread for another.",
    example=_EXAMPLE,
)
def stream(query: dict[str, Any]) -> Response:
    """Follow what changes, as server-sent events."""
    state = state_of()
    if request.method == "HEAD":
        return _response(iter(()))
    following = state.loop.run(_Following.begin(state, ChangeFilter(**query)))
    if not request.environ.get("wsgi.multithread", True):
        raise Busy("This server has one thread for all requests, and none to stream.")
    if not state.streams.acquire(blocking=False):
        raise Busy(
            f"This process has {state.settings.streams} streams already, which is "
            "METRONOME_STREAMS."
        )
    return _response(_Lines(state, following))


def _response(lines: Iterator[str]) -> Response:
    # the last one keeps nginx from collecting the events
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return Response(lines, content_type="text/event-stream", headers=headers)


class _Following:
    """Where one client is in what changes."""

    def __init__(self, state: State, mark: str, changes: Changes) -> None:
        self._state = state
        self._mark = mark
        self._changes = changes
        self.was_reset = False
        self.position = ""

    @classmethod
    async def begin(cls, state: State, wanted: ChangeFilter) -> _Following:
        """From ``Last-Event-ID`` on, else from now.

        :raises NotFound: there is no such schedule.
        """
        mark = mark_of("stream", wanted)
        async with reading(state) as connection:
            if wanted.schedule is not None:
                await schedule_id(connection, wanted.schedule)
            since = now = await database_now(connection)
        given = request.headers.get("Last-Event-ID")
        was_reset = False
        if given:
            try:
                (since,) = read_cursor(mark, given, (type(now),))
                was_reset = not now - LONGEST_RESUME < since <= now + LONGEST_RESUME
            except InputInvalid:
                was_reset = True
        following = cls(state, mark, Changes(wanted, now if was_reset else since))
        following.was_reset = was_reset
        following.position = write_cursor(mark, (now if was_reset else since,))
        return following

    async def look(self) -> Look:
        """What is new."""
        async with reading(self._state) as connection:
            now = await database_now(connection)
            found = await self._changes.look(connection, now)
        self.position = write_cursor(self._mark, (found.position,))
        return found

    def event(self, change: Change, found: Look) -> str:
        """A change as an event; its id leaves out nothing that is not told yet."""
        at = min(change.at, found.position)
        values = _SCHEMAS[change.kind].dump(change.value)
        data = self._state.flask_app.json.dumps(values)
        return _event(change.kind, write_cursor(self._mark, (at,)), data)


class _Lines:
    """The events of one stream; its thread is free again once it is closed."""

    def __init__(self, state: State, following: _Following) -> None:
        self._state = state
        self._following = following
        self._lines = self._written()
        self._holds = True

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        return next(self._lines)

    def close(self) -> None:
        """The server is done with it, also when it never began."""
        self._lines.close()
        if self._holds:
            self._holds = False
            self._state.streams.release()

    def _written(self) -> Generator[str, None, None]:
        yield f"retry: {RETRY_MILLISECONDS}\n\n"
        if self._following.was_reset:
            yield _event("reset", self._following.position, "{}")
        # not all of them come back at once
        lasts = self._state.settings.stream_seconds * random.uniform(0.8, 1.0)
        ends = time.monotonic() + lasts
        said = time.monotonic()
        while time.monotonic() < ends:
            text, pause = self._look()
            now = time.monotonic()
            if not text and now - said >= SILENCE_SECONDS:
                text = f": nothing new\nid: {self._following.position}\n\n"
            if text:
                said = now
                yield text
            time.sleep(max(0.0, min(pause, ends - time.monotonic())))

    def _look(self) -> tuple[str, float]:
        """The events of one look as text, and how long to wait then."""
        following = self._following
        with self._state.flask_app.app_context():
            try:
                found = self._state.loop.run(following.look())
            except MetronomeError as error:
                said = " ".join(str(error).split())
                return f": {said}\n\n", PAUSE_AFTER_FAILURE_SECONDS
            text = "".join(following.event(one, found) for one in found.changes)
        return text, 0.0 if found.more else PAUSE_SECONDS


def _event(kind: str, cursor: str, data: str) -> str:
    return f"event: {kind}\nid: {cursor}\ndata: {data}\n\n"
