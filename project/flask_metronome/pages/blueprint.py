"""The pages' blueprint: guarded, self-contained, and plain about errors."""

from __future__ import annotations

import uuid
from http import HTTPStatus
from typing import Any

from flask import (
    Blueprint,
    Response,
    g,
    make_response,
    render_template,
)
from werkzeug.exceptions import HTTPException

from flask_metronome.access import caller, may_write, require_read
from flask_metronome.api.problems import status_of
from flask_metronome.errors import MetronomeError, SchemaBehind
from flask_metronome.pages import words
from flask_metronome.pages.compression import compressed
from flask_metronome.pages.flash import forget_said, said
from flask_metronome.pages.form_guard import form_token, keep_token
from flask_metronome.state import state_of

#: Nothing from elsewhere, no inline script or style, no frame of another site.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'self'"
)

_TITLES = {
    HTTPStatus.NOT_FOUND: "There is no such thing",
    HTTPStatus.UNAUTHORIZED: "Who are you?",
    HTTPStatus.FORBIDDEN: "You may not do that",
    HTTPStatus.UNPROCESSABLE_ENTITY: "That was not understood",
    HTTPStatus.SERVICE_UNAVAILABLE: "The database does not answer",
    HTTPStatus.GATEWAY_TIMEOUT: "The database takes too long",
}
_HINTS = {
    HTTPStatus.UNAUTHORIZED: "In a browser: any name, and the value of "
    "METRONOME_API_TOKEN as the password.",
    HTTPStatus.NOT_FOUND: "It may have been removed, or pruned with the history.",
    HTTPStatus.SERVICE_UNAVAILABLE: "Beats, workers and monitors wait for it, too, and "
    "go on by themselves when it is back.",
    HTTPStatus.GATEWAY_TIMEOUT: "A list that looks for something rare in a long "
    "history answers sooner over a shorter span of due times.",
}

pages = Blueprint(
    "metronome_pages",
    __name__,
    template_folder="templates",
    static_folder="static",
    static_url_path="/static",
)
pages.before_request(require_read)
pages.after_request(compressed)
pages.after_request(keep_token)
pages.after_request(forget_said)

pages.add_app_template_filter(words.action_words, "metronome_action")
pages.add_app_template_filter(words.ago, "metronome_ago")
pages.add_app_template_filter(words.change_words, "metronome_change")
pages.add_app_template_filter(words.duration, "metronome_duration")
pages.add_app_template_filter(words.instant, "metronome_instant")
pages.add_app_template_filter(words.iso, "metronome_iso")
pages.add_app_template_filter(words.json_words, "metronome_json")
pages.add_app_template_filter(words.lost_words, "metronome_lost")
pages.add_app_template_filter(words.origin_words, "metronome_origin")
pages.add_app_template_filter(words.percent, "metronome_percent")
pages.add_app_template_filter(words.reason_words, "metronome_reason")
pages.add_app_template_filter(words.state_words, "metronome_state")
pages.add_app_template_filter(words.tone, "metronome_tone")
pages.add_app_template_filter(words.unknown_words, "metronome_unknown")
pages.add_app_template_filter(words.why, "metronome_why")


@pages.context_processor
def around() -> dict[str, Any]:
    """What every page needs around its own matter."""
    return {
        "page_seconds": state_of().settings.page_seconds,
        "may_write": _may_write,
        "form_token": form_token,
        "new_once": _new_once,
        "who_am_i": _who_am_i,
        "said": said,
    }


@pages.after_request
def headers(response: Response) -> Response:
    """Pages are of now, and take nothing from elsewhere."""
    response.headers.setdefault("Content-Security-Policy", _POLICY)
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Referrer-Policy", "same-origin")
    if response.mimetype == "text/html":
        response.headers["Cache-Control"] = "no-store"
    return response


@pages.errorhandler(MetronomeError)
def ours(error: MetronomeError) -> Response:
    """An error of ours as a page of one sentence."""
    page = _page(status_of(error), str(error), behind=isinstance(error, SchemaBehind))
    if page.status_code >= 503:
        page.headers["Retry-After"] = "2"
    return page


@pages.errorhandler(HTTPException)
def of_http(error: HTTPException) -> Response | HTTPException:
    """A refusal as a page, with the headers that it needs."""
    if error.response is not None or error.code is None or error.code < 400:
        return error
    status = HTTPStatus(error.code)
    page = _page(status, error.description or status.phrase)
    for name, value in error.get_headers():
        if name.lower() not in ("content-type", "content-length"):
            page.headers[name] = value
    return page


def _may_write() -> bool:
    # the host app's own say may cost something: it is asked once a page
    if "metronome_may_write" not in g:
        g.metronome_may_write = may_write()
    return bool(g.metronome_may_write)


def _new_once() -> str:
    return uuid.uuid4().hex


def _who_am_i() -> str:
    return caller("page")


def _page(status: HTTPStatus, sentence: str, *, behind: bool = False) -> Response:
    title = _TITLES.get(status, status.phrase)
    text = render_template(
        "metronome/error.html",
        status=status,
        title="The tables are not those of this version" if behind else title,
        hint=None if behind else _HINTS.get(status),
        sentence=sentence,
        temporary=status >= 500,
    )
    return make_response(text, int(status))
