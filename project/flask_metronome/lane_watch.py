"""A monitor's look at the broker's queues, kept in SQL for every replica's metrics."""

from __future__ import annotations

import logging
import threading
from datetime import timedelta

from flask_metronome.broker_probe import see_broker
from flask_metronome.database import is_disconnect
from flask_metronome.state import State
from flask_metronome.store import depths

_log = logging.getLogger(__name__)

#: Seconds between two looks.
LOOK_SECONDS = 10.0
_DEADLINE_SECONDS = 5.0


class LaneWatch:
    """Writes how much lies in each lane; of many monitors one does at a time."""

    def __init__(self, state: State) -> None:
        self._state = state

    def run(self, stop: threading.Event) -> None:
        """Look until told to stop; outlives outages of broker and database."""
        while not stop.is_set():
            try:
                self.look()
            except Exception as error:
                if not is_disconnect(error):
                    _log.exception("the lanes' depths cannot be written")
            stop.wait(LOOK_SECONDS)

    def look(self) -> bool:
        """Write what the broker holds now; whether it was this one's turn.

        When the broker does not answer nothing is written, and what was seen
        before is soon too old to be shown.
        """
        database = self._state.database
        with database.read() as connection:
            since = database.now(connection) - timedelta(seconds=LOOK_SECONDS / 2)
            if depths.are_seen(connection, since=since):
                return False
        sight = see_broker(self._state, _DEADLINE_SECONDS)
        if sight.error is not None:
            return False
        with database.begin() as connection:
            depths.write(connection, sight.depths, now=database.now(connection))
        return True
