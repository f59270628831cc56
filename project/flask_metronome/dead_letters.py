"""A monitor's ear for dead letters: they end their runs, and plain tasks' results.

A message that the broker gave up never reaches a worker again, so nobody else
says how its task ended: Celery leaves it STARTED or PENDING for ever. The body
stays in the dead-letter queue; here only the news of it is taken.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import Any

from billiard.exceptions import WorkerLostError
from celery import states
from celery.exceptions import Reject, TaskRevokedError
from kombu.serialization import loads, prepare_accept_content

from flask_metronome.consumer import is_task_body
from flask_metronome.core.death import SAID, DeadReason
from flask_metronome.state import State
from flask_metronome.store.dead import Death, close_dead
from metronome_broker import BrokerError, DeadLetter, DeadLetterNews

logger = logging.getLogger(__name__)

#: How often it asks for news, and how often while it cannot.
_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 30.0


class DeadLetterWatch:
    """Closes what is dead; any number may listen, each letter comes to one."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._news: DeadLetterNews | None = None

    def run(self, stop: threading.Event) -> None:
        """Listen until told to stop; outlives outages of broker and database."""
        failures = 0
        while not stop.wait(_pause_seconds(failures)):
            try:
                while self.take():
                    pass
                failures = 0
            except Exception as error:
                failures += 1
                _say(error, failures)
        self.close()

    def take(self) -> int:
        """Take the oldest news and close what they are about; how many came.

        :raises BrokerError: the broker does not answer.
        """
        url = self._state.known_broker_url()
        if url is None:
            return 0
        if self._news is None:
            self._news = DeadLetterNews(url, self._state.topology)
        return self._news.take(self._close_all)

    def close(self) -> None:
        """Drop the connection to the broker."""
        news, self._news = self._news, None
        if news is not None:
            news.close()

    def _close_all(self, letters: Sequence[DeadLetter]) -> None:
        for letter in letters:
            close_letter(self._state, letter)


def close_letter(state: State, letter: DeadLetter) -> bool:
    """End what a dead letter was to execute; whether that was still open."""
    reason = reason_of(letter, state.celery.conf.accept_content)
    if letter.run_id is not None:
        with state.database.begin() as connection:
            closed = close_dead(
                connection,
                Death(run_id=letter.run_id, retries=letter.retries, reason=reason),
                now=state.database.now(connection),
            )
        if closed:
            logger.warning("Run %s is over: %s", letter.run_id, SAID[reason])
        return closed
    if letter.task_id is None or letter.headers.get("ignore_result"):
        return False
    return _end_plain(state, letter.task_id, reason)


def reason_of(letter: DeadLetter, accept: Sequence[str]) -> DeadReason:
    """The broker's word, or that the body cannot be read."""
    try:
        reason = DeadReason(letter.reason)
    except ValueError:
        return DeadReason.UNKNOWN
    if reason is DeadReason.REJECTED and not is_readable(letter, accept):
        return DeadReason.UNDECODABLE
    return reason


def is_readable(letter: DeadLetter, accept: Sequence[str]) -> bool:
    """Whether a worker that accepts these contents can decode the body."""
    kinds = prepare_accept_content(accept)
    encoding = letter.content_encoding
    try:
        payload = loads(letter.body, letter.content_type, encoding, accept=kinds)
    except Exception:
        return False
    return is_task_body(payload)


def _end_plain(state: State, task_id: str, reason: DeadReason) -> bool:
    """Store the end of a task that is no run, unless its own end is there."""
    backend = state.celery.backend
    if backend.get_state(task_id) in states.READY_STATES:
        return False
    error: Any = WorkerLostError(SAID[reason])
    if reason is DeadReason.EXPIRED:
        error = TaskRevokedError("expired")
    elif reason in (DeadReason.REJECTED, DeadReason.UNDECODABLE):
        error = Reject(SAID[reason])
    expired = reason is DeadReason.EXPIRED
    backend.store_result(task_id, error, states.REVOKED if expired else states.FAILURE)
    return True


def _pause_seconds(failures: int) -> float:
    return min(_PAUSE_SECONDS * 2.0 ** min(failures, 10), _LONGEST_PAUSE_SECONDS)


def _say(error: Exception, failures: int) -> None:
    if isinstance(error, BrokerError) and failures == 1:
        logger.warning("the monitor hears of no dead letters: %s", error)
    elif not isinstance(error, BrokerError):
        logger.exception("dead letters could not be taken")
