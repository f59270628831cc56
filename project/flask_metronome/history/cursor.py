"""Opaque cursors: where a list goes on, and of which list it is.

A cursor holds the sort key of the last item and a mark of the filters, so one
that is used with other filters is refused and does not answer nonsense.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from datetime import datetime
from hashlib import blake2b
from typing import Any

from flask_metronome.core.run import iso_utc
from flask_metronome.errors import InputInvalid

MOST = 200
USUAL = 50
_EXPECTED = "a next_cursor that this list gave, with the same filters"


def write_cursor(mark: str, key: Sequence[Any]) -> str:
    """The cursor after the item with this sort key."""
    values = [iso_utc(v) if isinstance(v, datetime) else v for v in key]
    text = json.dumps([mark, *values], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read_cursor(mark: str, cursor: str, kinds: Sequence[type]) -> tuple[Any, ...]:
    """The sort key in a cursor.

    :param kinds: the type of each part of the key.
    :raises InputInvalid: naming ``cursor``.
    """
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        found = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        mark_found, *values = found
        if mark_found != mark or len(values) != len(kinds):
            raise ValueError("another list")
        return tuple(map(_part, values, kinds))
    except (ValueError, TypeError, binascii.Error, RecursionError):
        raise InputInvalid("cursor", _EXPECTED, cursor[:40]) from None


def mark_of(name: str, filters: object) -> str:
    """A short mark of a list and its filters."""
    return blake2b(f"{name}|{filters!r}".encode(), digest_size=6).hexdigest()


def _part(value: Any, kind: type) -> Any:
    if kind is datetime:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            raise ValueError("no zone")
        return moment
    if not isinstance(value, kind) or isinstance(value, bool):
        raise TypeError("another type")
    if isinstance(value, int) and abs(value) >= 2**63:
        raise ValueError("too large for a database")
    if isinstance(value, str) and "\x00" in value:
        raise ValueError("not a text that a database takes")
    return value
