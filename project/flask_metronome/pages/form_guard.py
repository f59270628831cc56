"""Forms that only our own pages can send: a token in a cookie and in the form.

A browser sends its HTTP basic password, and a local page its address, with
whatever another site makes it send; it cannot make it send a field that
equals a cookie which that site can neither read nor set. ``Origin`` and
``Sec-Fetch-Site`` are checked as for the API besides.
"""

from __future__ import annotations

import hmac
import re
import secrets

from flask import Response, g, request, url_for
from werkzeug.exceptions import Forbidden

from flask_metronome.access import require_write

_COOKIE = "metronome_form"
#: The hidden field of a form.
TOKEN_FIELD = "token"
_TOKEN = re.compile(r"[0-9a-f]{32}")


def form_token() -> str:
    """The token of this browser, for a hidden field; made when it has none."""
    g.metronome_has_form = True
    known = request.cookies.get(_COOKIE, "")
    if _TOKEN.fullmatch(known):
        return known
    if "metronome_form_token" not in g:
        g.metronome_form_token = secrets.token_hex(16)
    return str(g.metronome_form_token)


def require_form() -> None:
    """Let a form of ours change things, or refuse it; for ``before_request``.

    :raises Unauthorized: the token of ``METRONOME_API_TOKEN`` is missing.
    :raises Forbidden: the caller may not write, or the form is not of our pages.
    """
    require_write()
    known = request.cookies.get(_COOKIE, "")
    given = request.form.get(TOKEN_FIELD, "")
    if not _TOKEN.fullmatch(known) or not hmac.compare_digest(
        known.encode(), given.encode()
    ):
        raise Forbidden(
            "This form is not of a page that this browser has loaded: go back, "
            "load the page again, and send the form anew."
        )


def has_token() -> bool:
    """Whether the page that is being answered holds the token."""
    return bool(g.get("metronome_has_form"))


def keep_token(response: Response) -> Response:
    """Give the browser the token that its forms were made with."""
    made = g.get("metronome_form_token")
    if made is not None:
        response.set_cookie(
            _COOKIE,
            made,
            path=url_for("metronome_pages.now"),
            secure=request.is_secure,
            httponly=True,
            # Lax: a link in a mail must not make the forms of other tabs stale
            samesite="Lax",
        )
    return response
