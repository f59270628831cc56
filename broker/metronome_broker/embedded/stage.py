"""How far the conversation on a connection is."""

from __future__ import annotations

from enum import Enum


class Stage(Enum):
    """What the broker waits for."""

    HEADER = "the protocol header"
    START = "connection.start-ok"
    TUNE = "connection.tune-ok"
    OPEN = "connection.open"
    RUNNING = "any method"
    CLOSING = "connection.close-ok"
    GONE = "nothing"
