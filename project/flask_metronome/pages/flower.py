"""Flower under our own address and login, to look at only.

Flower hears of nobody's credentials but its own, is only ever read, and is the
only thing that can be reached this way. Its pages are another's code under our
address, so they get a policy of their own, which lets them have scripts inline.
"""

from __future__ import annotations

from pathlib import Path

from flask import Response, request
from werkzeug.exceptions import NotFound, RequestEntityTooLarge

from flask_metronome.errors import DeadlineExceeded, FlowerUnreachable
from flask_metronome.pages.blueprint import pages
from flask_metronome.state import State, state_of
from metronome_monitoring.flower_client import (
    SILENCE_SECONDS,
    FlowerAnswer,
    FlowerAway,
    FlowerClient,
    FlowerSilent,
)

_POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'self'"
)
#: Flower's table of tasks is asked for by POST, with the query as a form.
_TABLE = "tasks/datatable"
_LONGEST_QUERY = 32_768


@pages.get("/flower/", defaults={"path": ""})
@pages.get("/flower/<path:path>")
def flower(path: str) -> Response:
    """A page of Flower's."""
    return _shown(request.method, path, request.query_string.decode("latin-1"))


@pages.post(f"/flower/{_TABLE}")
def flower_tasks() -> Response:
    """Flower's table of tasks: a question with a long query."""
    if (request.content_length or 0) > _LONGEST_QUERY:
        raise RequestEntityTooLarge
    return _shown("GET", _TABLE, request.get_data().decode("latin-1"))


def _shown(method: str, path: str, query: str) -> Response:
    state = state_of()
    if state.settings.flower_url is None:
        raise NotFound("Flower is shown here once METRONOME_FLOWER_URL is set.")
    try:
        answer = _client(state).ask(method, path, query, dict(request.headers))
    except ValueError:
        raise NotFound from None
    except FlowerAway as error:
        raise FlowerUnreachable(
            f"Flower does not answer at {state.settings.flower_url}: {error}"
        ) from error
    except FlowerSilent:
        raise DeadlineExceeded("Flower's answer", SILENCE_SECONDS) from None
    return _passed_on(answer, state)


def _client(state: State) -> FlowerClient:
    settings = state.settings
    password = settings.flower_password
    if password is None:
        # made by a Flower of this machine, in the folder that we share
        password = _kept(settings.flower_password_file)
    return FlowerClient(
        url=str(settings.flower_url),
        prefix=settings.flower_path,
        user=settings.flower_user,
        password=password,
    )


def _kept(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8").strip() or None
    except OSError:
        return None


def _passed_on(answer: FlowerAnswer, state: State) -> Response:
    refused = answer.status == 401
    elsewhere = 300 <= answer.status < 400 and answer.status != 304
    if refused or (elsewhere and answer.moved_to is None):
        answer.body.close()
        raise FlowerUnreachable(_why(state, refused=refused))
    response = Response(iter(answer.body), status=answer.status)
    response.call_on_close(answer.body.close)
    response.headers.clear()
    response.headers.update(answer.headers)
    if answer.moved_to is not None:
        response.headers["Location"] = answer.moved_to
    response.headers["Content-Security-Policy"] = _POLICY
    return response


def _why(state: State, *, refused: bool) -> str:
    if refused:
        return (
            "Flower refuses our login: set the same METRONOME_FLOWER_USER and "
            "METRONOME_FLOWER_PASSWORD for it and for this app."
        )
    return (
        "Flower sends us elsewhere: start it with our settings, or with "
        f"--url-prefix={state.settings.flower_path.strip('/')}."
    )
