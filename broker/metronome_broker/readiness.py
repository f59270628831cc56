"""Waiting until a broker that was just started lets us in."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Callable
from urllib.parse import unquote, urlsplit

from metronome_broker.errors import BrokerStartFailed, BrokerUnreachable
from metronome_broker.wire import open_wire

_POLL_SECONDS = 0.1
_TRY_SECONDS = 2.0


def why_unreachable(url: str, seconds: float = _TRY_SECONDS) -> str | None:
    """None when the broker lets us in within the seconds, else why not."""
    try:
        with open_wire(url, seconds=seconds, name="metronome-probe"):
            return None
    except BrokerUnreachable as exc:
        return str(exc)


def why_silent(api_url: str, seconds: float = _TRY_SECONDS) -> str | None:
    """None when the management API answers within the seconds, else why not."""
    parts = urlsplit(api_url)
    login = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
    request = urllib.request.Request(
        f"{parts.scheme}://{parts.hostname}:{parts.port}{parts.path}overview",
        headers={"Authorization": f"Basic {b64encode(login.encode()).decode()}"},
    )
    try:
        with urllib.request.urlopen(request, timeout=seconds):
            return None
    except (OSError, ValueError) as exc:
        return f"management API on port {parts.port} does not answer: {exc}"


def wait_until_ready(
    url: str,
    api_url: str | None,
    seconds: float,
    ended: Callable[[], str | None] = lambda: None,
) -> None:
    """Returns when broker and management API answer.

    Args:
        ended: tells why there is nothing left to wait for, or None.

    Raises:
        BrokerStartFailed: not ready after the seconds, or it ended.
    """
    end = time.monotonic() + seconds
    while True:
        why = why_unreachable(url) or (why_silent(api_url) if api_url else None)
        if why is None:
            return
        gone = ended()
        if gone is not None:
            raise BrokerStartFailed(gone)
        if time.monotonic() >= end:
            raise BrokerStartFailed(f"not ready after {seconds:g} s: {why}")
        time.sleep(_POLL_SECONDS)
