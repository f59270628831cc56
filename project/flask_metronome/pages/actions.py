"""What people do from the pages: plain forms, answered by the page that follows.

Each is the same operation as in the API and on the command line, so the
audit has it under the same name.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from typing import Any

from flask import redirect, request, url_for
from marshmallow import Schema
from werkzeug.wrappers import Response

from flask_metronome.access import caller
from flask_metronome.api.fields import OneOf, Text
from flask_metronome.api.parsing import load
from flask_metronome.api.problems import FieldsInvalid
from flask_metronome.errors import Conflict, InputInvalid
from flask_metronome.incident_operations import IncidentOperations
from flask_metronome.operations import Operations
from flask_metronome.pages.blueprint import pages
from flask_metronome.pages.flash import Said, say
from flask_metronome.pages.form_guard import TOKEN_FIELD, require_form
from flask_metronome.state import state_of

#: How long a mute lasts, as a form offers it; ``None``: until it is ended.
SPANS: dict[str, timedelta | None] = {
    "1 hour": timedelta(hours=1),
    "8 hours": timedelta(hours=8),
    "1 day": timedelta(days=1),
    "1 week": timedelta(days=7),
    "until I end it": None,
}
#: Where to go next, and what to say there.
Outcome = tuple[str, str]


class OnceForm(Schema):
    """A form whose second click does nothing: ``once`` is its idempotency key."""

    once = Text(100, load_default=None)


class ReasonForm(Schema):
    """Why."""

    reason = Text(500, load_default=None)


class NoteForm(Schema):
    """A note for those who come after."""

    note = Text(2000, load_default=None)


class MuteForm(ReasonForm):
    """What to mute, and for how long."""

    scope = Text(255, required=True)
    span = OneOf(tuple(SPANS), required=True)


def _page(name: str, **names: Any) -> str:
    return url_for(f"metronome_pages.{name}", **names)


def _schedule(key: str) -> str:
    return _page("schedule", key=key)


def _run(run_id: str) -> str:
    return _page("run", run_id=run_id)


def _incident(incident_id: str) -> str:
    return _page("incident", incident_id=incident_id)


def _incidents(**_names: str) -> str:
    return _page("list_incidents")


def _action(
    rule: str, back: Callable[..., str]
) -> Callable[[Callable[..., Outcome]], Callable[..., Response]]:
    """A form's target: guarded, and what is refused is said on the page it came from.

    :param back: the page that a refusal is said on, by the names in the rule.
    """

    def decorate(view: Callable[..., Outcome]) -> Callable[..., Response]:
        @wraps(view)
        def answer(**names: str) -> Response:
            require_form()
            try:
                following, text = view(**names)
            except (Conflict, InputInvalid, FieldsInvalid) as error:
                return _say(back(**names), "bad", str(error))
            return _say(following, "good", text)

        pages.add_url_rule(rule, view.__name__, answer, methods=["POST"])
        return answer

    return decorate


def _say(address: str, tone: str, text: str) -> Response:
    # 303: a reload of what follows must not send the form again
    return say(redirect(address, 303), Said(tone=tone, text=text))


def _given(schema: type[Schema]) -> dict[str, Any]:
    """The fields of a form; those left empty count as not given."""
    fields = {k: v.strip() for k, v in request.form.items() if k != TOKEN_FIELD}
    return load(schema, {name: value for name, value in fields.items() if value})


def _operations() -> Operations:
    return Operations(state_of())


def _incident_operations() -> IncidentOperations:
    return IncidentOperations(state_of())


def _who() -> str:
    return caller("page")


def _once() -> str:
    return _given(OnceForm)["once"] or uuid.uuid4().hex


@_action("/schedules/<key>/run", _schedule)
def run_now(key: str) -> Outcome:
    """Run a schedule's task now, beside its cadence."""
    made = _operations().trigger(key, idempotency_key=_once(), who=_who())
    return _run(made), f"{key} was asked to run now: this is its run."


@_action("/schedules/<key>/pause", _schedule)
def pause(key: str) -> Outcome:
    """Plan no more runs until it is resumed."""
    reason = _given(ReasonForm)["reason"]
    _operations().pause(key, reason=reason, who=_who())
    return _schedule(key), f"{key} is paused: nothing is planned until it is resumed."


@_action("/schedules/<key>/resume", _schedule)
def resume(key: str) -> Outcome:
    """Plan again, from the next due time on."""
    _operations().resume(key, who=_who())
    return _schedule(key), f"{key} goes on with its next due time."


@_action("/schedules/<key>/mute", _schedule)
def mute_schedule(key: str) -> Outcome:
    """Tell nobody of this schedule's incidents for a while."""
    return _schedule(key), _muted()


@_action("/runs/<run_id>/rerun", _run)
def rerun(run_id: str) -> Outcome:
    """Run again what an ended run did."""
    made = _operations().rerun(run_id, idempotency_key=_once(), who=_who())
    return _run(made), "It was asked to run again: this is the new run."


@_action("/runs/<run_id>/cancel", _run)
def cancel(run_id: str) -> Outcome:
    """Cancel an open run, also while its body runs.

    :raises Conflict: it has ended already.
    """
    if not _operations().cancel(run_id, who=_who()):
        raise Conflict("This run had ended already: there is nothing to cancel.")
    return _run(run_id), "The run is cancelled."


@_action("/incidents/<incident_id>/acknowledge", _incident)
def acknowledge(incident_id: str) -> Outcome:
    """Take note of an incident."""
    note = _given(NoteForm)["note"]
    _incident_operations().acknowledge(incident_id, note=note, who=_who())
    return _incident(incident_id), "Acknowledged: nobody is reminded until it closes."


@_action("/incidents/<incident_id>/close", _incident)
def close(incident_id: str) -> Outcome:
    """Close an incident by hand."""
    note = _given(NoteForm)["note"]
    _incident_operations().close(incident_id, note=note, who=_who())
    return _incident(incident_id), "Closed: the next bad run opens another."


@_action("/incidents/<incident_id>/mute", _incident)
def mute_incident(incident_id: str) -> Outcome:
    """Tell nobody of what this incident is about for a while."""
    return _incident(incident_id), _muted()


@_action("/mutes", _incidents)
def mute() -> Outcome:
    """Tell nobody of a scope's incidents for a while."""
    return _incidents(), _muted()


@_action("/mutes/<mute_id>/end", _incidents)
def unmute(mute_id: str) -> Outcome:
    """End a mute."""
    _incident_operations().unmute(mute_id, who=_who())
    return _incidents(), "The mute is over: notifications are sent again."


def _muted() -> str:
    """Mute what the form says; the words for it."""
    given = _given(MuteForm)
    span = SPANS[given["span"]]
    state = state_of()
    with state.database.read() as connection:
        now = state.database.now(connection)
    _incident_operations().mute(
        given["scope"],
        until_at=None if span is None else now + span,
        reason=given["reason"],
        who=_who(),
    )
    lasts = "until the mute is ended" if span is None else f"for {given['span']}"
    return f"Muted {lasts}: incidents are recorded, and nobody is told."
