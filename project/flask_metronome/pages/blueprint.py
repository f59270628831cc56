"""The pages' blueprint: guarded, self-contained, and plain about errors."""

from __future__ import annotations

from http import HTTPStatus

from flask import Blueprint, Response, make_response, render_template
from werkzeug.exceptions import HTTPException

from flask_metronome.access import require_read
from flask_metronome.api.problems import status_of
from flask_metronome.errors import MetronomeError
from flask_metronome.pages import words
from flask_metronome.state import state_of

#: Nothing from elsewhere, no inline script or style, no frame of another site.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'self'"
)

pages = Blueprint(
    "metronome_pages",
    __name__,
    template_folder="templates",
    static_folder="static",
    static_url_path="/static",
)
pages.before_request(require_read)

pages.add_app_template_filter(words.ago, "metronome_ago")
pages.add_app_template_filter(words.duration, "metronome_duration")
pages.add_app_template_filter(words.instant, "metronome_instant")
pages.add_app_template_filter(words.lost_words, "metronome_lost")
pages.add_app_template_filter(words.percent, "metronome_percent")
pages.add_app_template_filter(words.reason_words, "metronome_reason")
pages.add_app_template_filter(words.state_words, "metronome_state")
pages.add_app_template_filter(words.tone, "metronome_tone")
pages.add_app_template_filter(words.why, "metronome_why")


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
    return _page(status_of(error), str(error))


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


def _page(status: HTTPStatus, sentence: str) -> Response:
    text = render_template(
        "metronome/error.html",
        status=status,
        sentence=sentence,
        page_seconds=state_of().settings.page_seconds,
        temporary=status >= 500,
    )
    return make_response(text, int(status))
