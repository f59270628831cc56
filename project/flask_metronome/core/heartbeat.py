"""How old a sign of life may be, for pages, metrics and sweeps alike."""

from __future__ import annotations

#: A beat is up while its heartbeat is at most this old; it says one every 5 s.
BEAT_UP_SECONDS = 15.0
