"""Stops bodies that run although their run was cancelled, through Celery's control.

Best effort: the run's fence has grown already, so a body that goes on can do
no harm to its record; a worker whose pool cannot stop a body lets it end.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

from flask_metronome.state import State

logger = logging.getLogger(__name__)

#: A caller waits so long for the broker; then the request goes on without it.
_WAIT_SECONDS = 1.0


def stop_bodies(state: State, runs: Sequence[str]) -> None:
    """Ask every worker to stop these runs, waiting a second for the broker."""
    # where no broker was ever picked no body can be at work
    if not runs or state.known_broker_url() is None:
        return
    asking = threading.Thread(
        target=_ask, args=(state, list(runs)), name="metronome-revoke", daemon=True
    )
    asking.start()
    asking.join(_WAIT_SECONDS)


def _ask(state: State, runs: list[str]) -> None:
    try:
        state.celery.control.revoke(runs, terminate=True, signal="SIGTERM")
    except Exception as error:
        # whatever the broker's trouble is: cancelling itself has worked
        logger.warning("Workers could not be asked to stop %s: %s", runs, error)
