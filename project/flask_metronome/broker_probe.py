"""Is the broker there, and what waits in its lanes: asked rarely, answered fast.

A page that refreshes itself must not open a connection each time, so an
answer is kept for some seconds and shared by all threads of the process.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from flask_metronome.state import State
from metronome_broker import BrokerError, LaneDepth, lane_depths

#: How long a good and a bad answer are kept, seconds.
_GOOD_FOR = 10.0
_BAD_FOR = 3.0


@dataclass(frozen=True, kw_only=True, slots=True)
class BrokerSight:
    """What was seen of the broker.

    :param error: why it does not answer, one sentence; ``None`` when it does.
    :param depths: messages and consumers of each lane, ``dead`` and ``unrouted``.
    """

    error: str | None
    depths: Mapping[str, LaneDepth] = field(default_factory=dict)


@dataclass(slots=True)
class _Kept:
    sight: BrokerSight | None = None
    good_until: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)


_kept: WeakKeyDictionary[State, _Kept] = WeakKeyDictionary()


def see_broker(state: State, deadline_seconds: float) -> BrokerSight:
    """Look at the broker, or at what was seen of it a moment ago; blocks.

    It never starts a broker. Beside one thread that looks, others get the
    former answer at once.
    """
    kept = _kept.setdefault(state, _Kept())
    if kept.sight is not None and time.monotonic() < kept.good_until:
        return kept.sight
    if not kept.lock.acquire(timeout=0.0 if kept.sight else deadline_seconds):
        return kept.sight or BrokerSight(error="The broker has not answered yet.")
    try:
        if kept.sight is None or time.monotonic() >= kept.good_until:
            kept.sight = _look(state, deadline_seconds)
            lasts = _BAD_FOR if kept.sight.error else _GOOD_FOR
            kept.good_until = time.monotonic() + lasts
        return kept.sight
    finally:
        kept.lock.release()


def _look(state: State, deadline_seconds: float) -> BrokerSight:
    try:
        url = state.known_broker_url()
        if url is None:
            return BrokerSight(error="No broker is set and none is running.")
        depths = lane_depths(url, state.topology, deadline=deadline_seconds)
    except (BrokerError, OSError) as error:
        return BrokerSight(error=str(error))
    return BrokerSight(error=None, depths=depths)
