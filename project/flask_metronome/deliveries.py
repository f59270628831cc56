"""What a worker's main process knows of a delivery, with what Celery leaves out.

Celery says nothing when it hands back the message of a killed pool process,
and enforces no hard time limit that is shorter than the soft one.
"""

from __future__ import annotations

import logging
from typing import Any

from billiard.einfo import ExceptionInfo, ExceptionWithTraceback
from billiard.exceptions import WorkerLostError
from celery import states
from celery.concurrency.base import BasePool
from celery.worker.request import Request

from flask_metronome.core.ending import LostCause
from flask_metronome.core.run import AttemptState
from flask_metronome.endings import ending_from_state, ending_of, run_of
from flask_metronome.redaction import MESSAGE_LIMIT, TRACEBACK_LIMIT, excerpt
from flask_metronome.shown import patterns_of
from flask_metronome.state import state_of
from flask_metronome.store.ledger import ledger_of

logger = logging.getLogger(__name__)

#: How long the requeue of a lost message waits for the loss to be written.
_WAIT_SECONDS = 1.0
#: The soft limit of one that has a shorter hard one: 1440 s of 1500 s.
_SOFT_SHARE = 0.96
#: Texts of events that may hold what the body returned or raised, and the longest.
_SHOWN = {
    "result": MESSAGE_LIMIT,
    "exception": MESSAGE_LIMIT,
    "traceback": TRACEBACK_LIMIT,
}
#: Hard and soft time limit, in seconds.
Limits = tuple[float | None, float | None]


class MetronomeRequest(Request):
    """A delivery whose loss is recorded before the broker gets it back."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        hard, soft = (*(self._request_dict.get("timelimit") or ()), None, None)[:2]
        self.time_limits: Limits = consistent_limits(
            hard or self.task.time_limit, soft or self.task.soft_time_limit
        )

    def on_failure(
        self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False
    ) -> Any:
        """Celery's handler of a failed or lost delivery, after our record of it."""
        try:
            self._note_loss(exc_info.exception)
        except Exception:
            logger.exception("The loss of %s could not be recorded", self.id)
        return super().on_failure(self._seen(exc_info), send_failed_event, return_ok)

    def cancel(self, pool: Any, *args: Any, **options: Any) -> Any:
        """Celery's end of a body that a shutdown or a lost connection cuts off."""
        if not _can_cut_off(pool):
            # Celery would raise, and end the worker by that; the body goes on
            logger.warning("Task %s cannot be cut off in this pool", self.id)
            return None
        # only a shutdown says whether to tell of a retry (from Celery 5.6 on),
        # and only this setting lets a lost connection cut bodies off
        by_connection = "emit_retry" not in options and (
            self.app.conf.worker_cancel_long_running_tasks_on_connection_loss
        )
        try:
            self._note_cancel(
                LostCause.CONNECTION if by_connection else LostCause.COLD_SHUTDOWN
            )
        except Exception:
            logger.exception("The loss of %s could not be recorded", self.id)
        return super().cancel(pool, *args, **options)

    def send_event(self, type: str, **fields: Any) -> Any:
        """Celery's event, which Flower shows, without secrets or endless text."""
        for name in _SHOWN.keys() & fields.keys():
            if fields[name] is not None:
                fields[name] = excerpt(
                    str(fields[name]),
                    self._patterns,
                    _SHOWN[name],
                    both_ends=name == "traceback",
                )
        return super().send_event(type, **fields)

    @property
    def _context(self) -> Any:
        """Celery's request, with the process of the pool whose end it tells."""
        context = super()._context
        context.metronome_pid = self.worker_pid
        return context

    @property
    def _patterns(self) -> tuple[str, ...]:
        return patterns_of(self.app, self.name)

    def _note_cancel(self, cause: LostCause) -> None:
        context = self._context
        if run_of(context) is None:
            return
        state = state_of(self.app)
        ending = ending_of(
            context,
            AttemptState.LOST,
            lost_cause=cause,
            comes_back=bool(self.task.acks_late),
        )
        ledger_of(state).post(ending=ending, wait_seconds=_WAIT_SECONDS)

    def _seen(self, exc_info: Any) -> Any:
        """What Celery is to see, where it would do too little or too much.

        Before 5.7 it would acknowledge the message of a body that left its
        process, and the run never end. By a body's ``MemoryError`` it ends the
        whole worker; in a pool of threads it forgets the message instead, and
        the worker takes one less from then on.
        """
        error = exc_info.exception
        if isinstance(error, ExceptionWithTraceback):
            error = error.exc
        if isinstance(error, MemoryError):
            return _instead(OutOfMemory(f"MemoryError: {error}"), exc_info)
        celery_sees_it = hasattr(Request, "_worker_lost_info")
        left = isinstance(error, (SystemExit, KeyboardInterrupt))
        if celery_sees_it or not left:
            return exc_info
        if self._already_cancelled or self._already_revoked:
            return exc_info
        return _instead(WorkerLostError("Worker exited prematurely: exit."), exc_info)

    def _note_loss(self, error: BaseException) -> None:
        if isinstance(error, ExceptionWithTraceback):
            error = error.exc
        if self._already_cancelled or self._already_revoked:
            return
        if isinstance(error, (SystemExit, KeyboardInterrupt)):
            error = WorkerLostError("Worker exited prematurely: exit.")
        comes_back = self.task.acks_late and self.task.reject_on_worker_lost
        if not isinstance(error, WorkerLostError) or not comes_back:
            return
        context = self._context
        if run_of(context) is None:
            return
        state = state_of(self.app)
        ending = ending_from_state(
            context, states.FAILURE, error, None, redact=self._patterns
        )
        if ending is not None:
            ledger_of(state).post(ending=ending, wait_seconds=_WAIT_SECONDS)


class OutOfMemory(Exception):
    """Stands for the ``MemoryError`` of a body: its failure, not its worker's."""


def _instead(error: Exception, exc_info: Any) -> Any:
    """Another error, with the traceback of what it stands for."""
    try:
        raise error
    except type(error):
        info = ExceptionInfo()
    info.traceback = exc_info.traceback
    return info


def _can_cut_off(pool: Any) -> bool:
    # the pool of processes has its own on the instance
    return getattr(pool.terminate_job, "__func__", None) is not BasePool.terminate_job


def consistent_limits(hard: float | None, soft: float | None) -> Limits:
    """Hard and soft limit in seconds, so that the soft one is the shorter."""
    if hard and soft and soft >= hard:
        return hard, hard * _SOFT_SHARE
    return hard, soft
