"""A Prometheus collector over somebody else's numbers.

It has no state of its own beyond a short cache, so every process that asks
the same database exposes the same values, whatever forked or restarted.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from metronome_monitoring.families import families
from metronome_monitoring.snapshot import Snapshot

_log = logging.getLogger(__name__)

LEAST_CACHE_SECONDS = 1.0


class MetronomeCollector(Collector):
    """Yields the families of the snapshot that ``read`` returns.

    When ``read`` fails there are no numbers: old ones would look healthy.
    ``metronome_database_up`` says so, and the scrape itself still answers.

    :param read: reads the numbers; may block and may raise.
    :param cache_seconds: how long one snapshot is used, at least a second.
    """

    def __init__(
        self, read: Callable[[], Snapshot], *, cache_seconds: float = 1.0
    ) -> None:
        self._read = read
        self._cache_seconds = max(LEAST_CACHE_SECONDS, cache_seconds)
        self._lock = threading.Lock()
        self._metrics: list[Metric] = []
        self._fresh_until = float("-inf")

    def describe(self) -> Iterable[Metric]:
        """Nothing: so that registering does not ask the database."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """The families as of now, or of at most a second ago."""
        with self._lock:
            if time.monotonic() >= self._fresh_until:
                self._metrics = self._collected()
                self._fresh_until = time.monotonic() + self._cache_seconds
            return list(self._metrics)

    def _collected(self) -> list[Metric]:
        try:
            found = list(families(self._read()))
        except Exception as error:
            _log.warning("the numbers cannot be read: %s", error)
            return [_database_up(up=False)]
        return [_database_up(up=True), *found]


def _database_up(*, up: bool) -> Metric:
    return GaugeMetricFamily(
        "metronome_database_up",
        "1 if the numbers could be read from the database for this scrape.",
        value=float(up),
    )
