"""What arrives in a queue, read without a worker."""

from __future__ import annotations

import json
import threading
import time
from collections import defaultdict
from typing import Any

from kombu import Connection


class Arrivals:
    """Takes every message of a queue, and remembers when each run of a schedule came.

    A message that comes twice with the same id is one: a worker's claim, or its
    redelivery flag, tells it.
    """

    def __init__(self, broker_url: str, queue: str) -> None:
        self._url, self._queue = broker_url, queue
        self._seen: set[str] = set()
        self._stop = threading.Event()
        self._lock = threading.Lock()
        #: Moments (monotonic seconds) by schedule.
        self.moments: dict[str, list[float]] = defaultdict(list)
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Arrivals:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)

    def count(self) -> int:
        """How many came so far."""
        with self._lock:
            return len(self._seen)

    def between(self, after: float, until: float) -> dict[str, list[float]]:
        """The moments within that time, by schedule."""
        with self._lock:
            return {
                key: [moment for moment in moments if after < moment <= until]
                for key, moments in self.moments.items()
            }

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._consume()
            except Exception:
                # the broker is away, on purpose or not yet there
                self._stop.wait(0.2)

    def _consume(self) -> None:
        with Connection(self._url, connect_timeout=3) as connection:
            channel = connection.channel()
            channel.basic_qos(0, 500, False)
            channel.basic_consume(self._queue, callback=self._take)
            while not self._stop.is_set():
                try:
                    connection.drain_events(timeout=0.5)
                except TimeoutError:
                    continue

    def _take(self, message: Any) -> None:
        moment = time.monotonic()
        headers = message.headers
        key = json.loads(message.body)[0][0]
        with self._lock:
            if headers["id"] not in self._seen:
                self._seen.add(headers["id"])
                self.moments[key].append(moment)
        message.channel.basic_ack(message.delivery_tag)
