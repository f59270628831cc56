"""Stops bodies that run although their run was cancelled, through Celery's control.

Best effort: the run's fence has grown already, so a body that goes on can do
no harm to its record; a worker whose pool cannot stop a body lets it end.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from flask_metronome.state import State

logger = logging.getLogger(__name__)

_CONNECT_SECONDS = 2


def stop_bodies(state: State, runs: Sequence[str]) -> bool:
    """Ask every worker to stop these runs; whether the broker took the request."""
    if not runs:
        return True
    try:
        with state.celery.connection_for_write(
            connect_timeout=_CONNECT_SECONDS
        ) as connection:
            connection.ensure_connection(max_retries=1, timeout=_CONNECT_SECONDS)
            state.celery.control.revoke(
                list(runs), terminate=True, signal="SIGTERM", connection=connection
            )
    except Exception as error:
        # whatever the broker's trouble is: cancelling itself has worked
        logger.warning("Workers could not be asked to stop %s: %s", runs, error)
        return False
    return True
