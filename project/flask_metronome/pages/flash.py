"""What came of a form, said once on the page that follows it.

Kept in a cookie and not in Flask's session, which needs a key of the host app.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import asdict, dataclass

from flask import Response, g, request, url_for
from werkzeug.wrappers import Response as AnyResponse

_COOKIE = "metronome_said"
_SECONDS = 60
_LONGEST = 600
#: A page that asks for itself in the background must not eat what is to be read.
REFRESH = "Metronome-Refresh"


@dataclass(frozen=True, kw_only=True, slots=True)
class Said:
    """One sentence, and its tone: good or bad."""

    tone: str
    text: str


def say(response: AnyResponse, said: Said) -> AnyResponse:
    """Let the next page say it."""
    short = Said(tone=said.tone, text=said.text[:_LONGEST])
    text = json.dumps(asdict(short)).encode()
    response.set_cookie(
        _COOKIE,
        base64.urlsafe_b64encode(text).decode(),
        max_age=_SECONDS,
        path=url_for("metronome_pages.now"),
        secure=request.is_secure,
        httponly=True,
        samesite="Lax",
    )
    return response


def said() -> Said | None:
    """What the page is to say; it is forgotten then."""
    kept = request.cookies.get(_COOKIE)
    if kept is None or request.headers.get(REFRESH):
        return None
    g.metronome_said = True
    try:
        found = json.loads(base64.urlsafe_b64decode(kept))
        tone = "good" if found["tone"] == "good" else "bad"
        return Said(tone=tone, text=str(found["text"]))
    except (ValueError, TypeError, KeyError, binascii.Error):
        return None


def forget_said(response: Response) -> Response:
    """Drop what was said."""
    if g.get("metronome_said"):
        response.delete_cookie(_COOKIE, path=url_for("metronome_pages.now"))
    return response
