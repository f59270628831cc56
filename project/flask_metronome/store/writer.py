"""A thread that writes for a worker's main process.

That process runs the event loop that acknowledges messages and sends
heartbeats: it must never wait for a database.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections.abc import Callable

logger = logging.getLogger(__name__)

Work = Callable[[], object]


class Writer:
    """Does pieces of work one after the other, in a thread of this process.

    :param limit: pieces that may wait; beyond it they are refused, and counted.
    """

    def __init__(self, *, limit: int = 10_000) -> None:
        self._queue: queue.Queue[Work | None] = queue.Queue(limit)
        self._pid = os.getpid()
        self._thread = threading.Thread(
            target=self._run, name="metronome-writer", daemon=True
        )
        #: Pieces refused because too many waited.
        self.refused = 0
        #: Pieces that raised.
        self.failed = 0
        self._stopped = False
        self._thread.start()

    @property
    def is_running(self) -> bool:
        """Whether work put here is done; never so in a forked child."""
        return (
            not self._stopped
            and self._pid == os.getpid()
            and self._thread.is_alive()
            and threading.current_thread() is not self._thread
        )

    def put(self, work: Work) -> bool:
        """Queue a piece of work; ``False`` when too much waits already."""
        try:
            self._queue.put_nowait(work)
        except queue.Full:
            self.refused += 1
            return False
        return True

    def stop(self, *, timeout_seconds: float) -> None:
        """Do what is queued, then end; work that is put later is the caller's."""
        if self._stopped or self._pid != os.getpid():
            return
        self._stopped = True
        try:
            self._queue.put(None, timeout=timeout_seconds)
        except queue.Full:
            return
        self._thread.join(timeout_seconds)

    def _run(self) -> None:
        while (work := self._queue.get()) is not None:
            try:
                work()
            except Exception:
                self.failed += 1
                logger.exception("A record of a task could not be written")
