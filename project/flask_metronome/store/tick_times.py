"""How long a beat's ticks took, kept until its next heartbeat writes them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection

from flask_metronome.store import counters
from metronome_monitoring.buckets import DISPATCH_BUCKETS, bucket_label


class TickTimes:
    """One beat's histogram since its last heartbeat.

    :param beat_id: whose it is: two beats never write the same row, so that one
        that stands still holds up no other.
    """

    def __init__(self, beat_id: str) -> None:
        self._beat_id = beat_id
        self._buckets: Counter[str] = Counter()
        self._seconds = 0.0

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Time what is done inside, unless it raises."""
        began = time.monotonic()
        yield
        seconds = time.monotonic() - began
        self._buckets[bucket_label(seconds, DISPATCH_BUCKETS)] += 1
        self._seconds += seconds

    def write(self, connection: Connection) -> None:
        """Add them to the sums inside the caller's transaction."""
        sums = {
            counters.CounterKey(counters.TICK, self._beat_id, label): number
            for label, number in self._buckets.items()
        }
        whole = counters.CounterKey(f"{counters.TICK}_ms", self._beat_id, "")
        counters.add(connection, sums | {whole: self._milliseconds})

    def clear(self) -> None:
        """They are written: begin anew, with what is less than a millisecond."""
        self._seconds -= self._milliseconds / 1000
        self._buckets.clear()

    @property
    def _milliseconds(self) -> int:
        return int(self._seconds * 1000)
