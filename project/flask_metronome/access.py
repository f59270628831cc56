"""Who may read and who may write, for API, pages and metrics alike.

With ``METRONOME_API_TOKEN`` every request needs it, as bearer token or as the
password of HTTP basic, so that a browser can log in. Without it reading is
open and writing is for this machine only. The host app may decide itself:
``state.authorize(request, write)``.
"""

from __future__ import annotations

import hmac
import ipaddress
from urllib.parse import urlsplit

from flask import Request, request
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Forbidden, Unauthorized

from flask_metronome.state import State, state_of

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
#: Headers that proxies add, and whatever begins with ``X-Forwarded``.
_FORWARDING = frozenset(
    {"forwarded", "via", "x-real-ip", "x-client-ip", "true-client-ip"}
    | {"cf-connecting-ip", "x-cluster-client-ip", "x-envoy-external-address"}
)
_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


def require_read() -> None:
    """Let the current request read, or refuse it.

    Fit for ``before_request``.

    :raises Unauthorized: the token is missing or wrong.
    :raises Forbidden: the host app says no.
    """
    _require(write=False)


def require_write() -> None:
    """Let the current request change things, or refuse it.

    :raises Unauthorized: the token is missing or wrong.
    :raises Forbidden: not from this machine while no token is set, from a page
        of another site, or the host app says no.
    """
    if _is_from_another_site(request):
        raise Forbidden("A page of another site may not write here.")
    _require(write=True)


def may_write() -> bool:
    """Whether the current caller would be let change things: what to offer it."""
    try:
        _require(write=True)
    except (Unauthorized, Forbidden):
        return False
    return True


def caller(through: str = "api") -> str:
    """Who writes, for the audit: the name in HTTP basic, else through what and where.

    :param through: ``api`` or ``page``.
    """
    given = request.authorization
    if given is not None and given.type == "basic" and given.username:
        return str(given.username)[:100]
    return f"{through} {request.remote_addr or 'unknown'}"


def _require(*, write: bool) -> None:
    state = state_of()
    if state.authorize is not None and state.authorize(request, write):
        return
    if state.settings.api_token is not None:
        _require_token(state)
    elif state.authorize is not None:
        raise Forbidden("This app does not let you do that.")
    elif write and not _is_local(request):
        raise Forbidden(
            "Writing is open to this machine only until METRONOME_API_TOKEN is set."
        )


def _require_token(state: State) -> None:
    expected = str(state.settings.api_token)
    given = request.authorization
    found = ""
    if given is not None:
        found = (given.token if given.type == "bearer" else given.password) or ""
    if not hmac.compare_digest(found.encode(), expected.encode()):
        raise Unauthorized(
            "The token is missing or wrong: send it as a bearer token, or as the "
            "password of HTTP basic.",
            www_authenticate=WWWAuthenticate("basic", {"realm": "Metronome"}),
        )


def _is_local(asked: Request) -> bool:
    """From this machine, asked for by a local name, and not passed on by a proxy.

    The name counts, or any web page could reach us through a host name of its
    own that leads to 127.0.0.1. A proxy on this machine that adds no header at
    all cannot be told from a local caller: behind one there must be a token.
    """
    try:
        address = ipaddress.ip_address(asked.remote_addr or "")
    except ValueError:
        return False
    named = {name.lower() for name, _ in asked.headers}
    forwarded = bool(named & _FORWARDING) or any(
        name.startswith("x-forwarded") for name in named
    )
    name = urlsplit(f"//{asked.host}").hostname
    return address.is_loopback and not forwarded and name in _LOCAL_NAMES


def _is_from_another_site(asked: Request) -> bool:
    """Whether a browser says that a page of another origin made this request."""
    if asked.headers.get("Sec-Fetch-Site") in ("cross-site", "same-site"):
        return True
    origin = asked.headers.get("Origin")
    return origin is not None and urlsplit(origin).netloc != asked.host
