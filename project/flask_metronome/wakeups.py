"""Wakes a beat when a schedule was changed: LISTEN/NOTIFY on PostgreSQL.

Only a shortcut: a beat looks once in ``METRONOME_BEAT_MAX_SLEEP_SECONDS`` (a
second) anyway, so losing the connection, or a database without notifications,
costs no more than that.
"""

from __future__ import annotations

import logging
import threading
from typing import Any

from flask_metronome.database import Database

logger = logging.getLogger(__name__)

CHANNEL = "metronome_schedules"
_RETRY_SECONDS = 5.0
_WAIT_SECONDS = 1.0


class Wakeups:
    """Sleeping that an edit cuts short.

    :param database: where the edits happen.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._edited = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Listen, where the database can notify."""
        if self._database.dialect != "postgresql":
            return
        self._thread = threading.Thread(
            target=self._listen, name="metronome-wakeups", daemon=True
        )
        self._thread.start()

    def sleep(self, seconds: float) -> bool:
        """Sleep so long or until an edit; whether it was an edit."""
        woken = self._edited.wait(seconds)
        self._edited.clear()
        return woken

    def stop(self) -> None:
        """Stop listening within a second or so; a sleeper wakes at once."""
        self._stopping.set()
        self._edited.set()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(1.2 * _WAIT_SECONDS)

    def _listen(self) -> None:
        said = False
        while not self._stopping.is_set():
            try:
                self._listen_once()
            except Exception as error:
                level = logging.DEBUG if said else logging.WARNING
                logger.log(level, "Not told of edits, looking for them: %s", error)
                said = True
                self._stopping.wait(_RETRY_SECONDS)

    def _listen_once(self) -> None:
        pooled = self._database.engine.raw_connection()
        connection: Any = pooled.driver_connection
        # a session of its own: it must not go back into the pool listening
        pooled.detach()
        try:
            connection.autocommit = True
            connection.execute(f"LISTEN {CHANNEL}")
            # nobody could tell us of what was edited until now
            self._edited.set()
            while not self._stopping.is_set():
                for _ in connection.notifies(timeout=_WAIT_SECONDS, stop_after=1):
                    self._edited.set()
        finally:
            connection.close()
