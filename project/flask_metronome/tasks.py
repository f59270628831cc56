"""The task class: app context, and the claim of a run before its body."""

from __future__ import annotations

import logging
import os
import threading
import time
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from billiard.exceptions import WorkerLostError
from celery import Task
from celery.exceptions import (
    Ignore,
    Reject,
    Retry,
    WorkerShutdown,
    WorkerTerminate,
)
from flask import current_app, has_app_context

from flask_metronome import tracing
from flask_metronome.core.claim import Delivery, Verdict
from flask_metronome.core.ending import Ending
from flask_metronome.core.run import AttemptState
from flask_metronome.deliveries import consistent_limits
from flask_metronome.endings import (
    FENCE_HEADER,
    ending_of,
    fence_of,
    own_headers,
    rejection,
    run_of,
)
from flask_metronome.errors import DatabaseUnreachable
from flask_metronome.identity import in_pool_process, own_worker_id
from flask_metronome.shown import patterns_of
from flask_metronome.state import state_of
from flask_metronome.store.ledger import Ledger, ledger_of

logger = logging.getLogger(__name__)


class MetronomeTask(Task):
    """A Celery task that runs in its Flask app's context and claims its run.

    Put in front of a foreign task class it keeps what that class does.
    """

    abstract = True
    Request = "flask_metronome.deliveries:MetronomeRequest"

    @classmethod
    def bind(cls, app: Any) -> Any:
        """Celery's binding; a limit of its own makes the default of the other fit."""
        bound = super().bind(app)
        # before 5.7 Celery leaves the defaults to the pool, unseen from here
        if cls.time_limit is None:
            cls.time_limit = app.conf.task_time_limit
        if cls.soft_time_limit is None:
            cls.soft_time_limit = app.conf.task_soft_time_limit
        hard, soft = cls.time_limit, cls.soft_time_limit
        if hard and soft and soft > hard:
            if soft == app.conf.task_soft_time_limit:
                cls.time_limit, cls.soft_time_limit = consistent_limits(hard, soft)
            elif hard == app.conf.task_time_limit:
                cls.time_limit = soft + (hard - app.conf.task_soft_time_limit)
        return bound

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the body: directly, eagerly, or as a worker for a delivery.

        :raises Ignore: when the delivery must not run: it is a duplicate, was
            cancelled, has expired, or a predecessor is still running.
        :raises Reject: when the database stayed away; the broker keeps the
            message. Where it cannot, for it is acknowledged or came back often,
            the run is published again.
        """
        request = self.request
        if request.called_directly or getattr(request, "metronome_begun", False):
            with self._context_if_none():
                return super().__call__(*args, **kwargs)
        request.metronome_begun = True
        if request.is_eager:
            with self._context_if_none():
                return self._traced_body(args, kwargs)
        if run_of(request):
            self._claim(request)
        state = state_of(self.app)
        exchange = state.topology.run_exchange
        with state.flask_app.app_context(), tracing.processing(request, exchange):
            return self._claimed_body(request, args, kwargs)

    def on_replace(self, sig: Any) -> Any:
        """Hand the run on to the signature that replaces this task."""
        request = self.request
        if fence_of(request) is None:
            return super().on_replace(sig)
        heir = _last_of(sig)
        headers = heir.options.get("headers") or {}
        heir.set(headers={**headers, **own_headers(request)})
        # before it is published: it may be delivered at once
        self._end(
            request,
            ending_of(
                request, AttemptState.IGNORED, reason="replaced", comes_back=True
            ),
        )
        try:
            return super().on_replace(sig)
        except Ignore:
            raise
        except Exception:
            # nobody takes it over: how this attempt ends is how the run does
            request.metronome_ended = False
            request.metronome_not_replaced = True
            raise

    def retry(self, *args: Any, **options: Any) -> Any:
        """As Celery's. With ``throw=False`` the body goes on, and so does the run.

        A run's start deadline, by which its message expires, was met: its retries
        may come later.
        """
        if fence_of(self.request) is not None:
            options.setdefault("expires", None)
        promised = super().retry(*args, **options)
        # it is published: whatever the body still says ends no run
        self.request.metronome_promised = promised
        return promised

    def _claimed_body(self, request: Any, args: Any, kwargs: Any) -> Any:
        try:
            said = self._traced_body(args, kwargs)
        except Exception as error:
            promised = _promised(request)
            if promised is not None and error is not promised:
                raise self._noted(request, promised) from error
            self._noted(request, error)
            raise
        except BaseException as error:
            if _ends_more_than_the_body(error):
                raise
            # a pool of threads forgets a body that leaves like this: nobody
            # would ever acknowledge its message or end its run
            raise _told(error) from error
        promised = _promised(request)
        if promised is not None:
            raise self._noted(request, promised)
        return said

    def _noted(self, request: Any, error: Exception) -> Exception:
        """Write down what the backend is not told when a body says this."""
        if isinstance(error, Retry):
            # the backend is told the cause, not when the retry is due
            request.metronome_retry = error
        elif isinstance(error, Ignore):
            ending = ending_of(request, AttemptState.IGNORED, reason="ignored")
            self._end(request, ending)
        elif isinstance(error, Reject):
            ending = rejection(
                request, error, self._patterns(), comes_back=self.acks_late
            )
            self._end(request, ending)
        return error

    def _traced_body(self, args: Any, kwargs: Any) -> Any:
        """What the class after us would do; Celery's own would push a 2nd request."""
        if _next_call_is_celerys(type(self)):
            return self.run(*args, **kwargs)
        return super().__call__(*args, **kwargs)

    def _context_if_none(self) -> AbstractContextManager[Any]:
        flask_app = state_of(self.app).flask_app
        active: Any = current_app
        if has_app_context() and active._get_current_object() is flask_app:
            return nullcontext()
        return flask_app.app_context()

    def _claim(self, request: Any) -> None:
        try:
            claim = self._ledger().claim(_delivery(self.name, request))
        except DatabaseUnreachable as error:
            if self._is_handed_back(request, error):
                raise Ignore("not run: the database is away") from error
            logger.error("Run %s goes back to the broker: %s", request.id, error)
            raise Reject(str(error), requeue=True) from error
        if claim.verdict is not Verdict.CLAIM:
            raise Ignore(f"not run: {claim.verdict}")
        request.claimed_fence = claim.fence
        request.metronome_since = time.monotonic()

    def _is_handed_back(self, request: Any, why: Exception) -> bool:
        """Whether its message is to be acknowledged, for it will be sent again."""
        is_gone = not self.acks_late
        if not is_gone and not self._came_back_often(request):
            return False
        # no broker has it, or it would soon be a dead letter there
        kept = self._ledger().hand_back(
            request.id, retries=request.retries or 0, is_gone=is_gone
        )
        if kept:
            logger.error("Run %s goes back to the outbox: %s", request.id, why)
        return kept or is_gone

    def _came_back_often(self, request: Any) -> bool:
        """Half of the lane's limit is left to workers that die."""
        count = (request.headers or {}).get("x-delivery-count") or 0
        return bool(count >= state_of(self.app).settings.delivery_limit // 2)

    def _end(self, request: Any, ending: Ending) -> None:
        if fence_of(request) is None or getattr(request, "metronome_ended", False):
            return
        request.metronome_ended = True
        self._ledger().write(ending=ending)

    def _ledger(self) -> Ledger:
        return ledger_of(state_of(self.app))

    def _patterns(self) -> tuple[str, ...]:
        return patterns_of(self.app, self.name)


def _delivery(name: str, request: Any) -> Delivery:
    info = request.delivery_info or {}
    return Delivery(
        run_id=request.id,
        task=name,
        retries=request.retries or 0,
        redelivered=bool(info.get("redelivered")),
        worker=request.hostname or "",
        worker_id=own_worker_id(),
        pid=os.getpid(),
        trace_id=_trace_id(request.headers or {}),
        sent_by=(request.headers or {}).get(FENCE_HEADER),
    )


def _trace_id(headers: dict[str, Any]) -> str | None:
    """The trace id of a W3C ``traceparent`` header."""
    parts = str(headers.get("traceparent") or "").split("-")
    return parts[1] if len(parts) >= 4 and len(parts[1]) == 32 else None


def _last_of(sig: Any) -> Any:
    """The signature that takes over the task id: a chain's last, a chord's body."""
    while True:
        tasks = getattr(sig, "tasks", None)
        body = getattr(sig, "body", None)
        if body is not None:
            sig = body
        elif tasks:
            sig = tasks[-1]
        else:
            return sig


def _promised(request: Any) -> Exception | None:
    """The retry that a claimed body has published and not raised."""
    if fence_of(request) is None:
        return None
    return getattr(request, "metronome_promised", None)


def _ends_more_than_the_body(error: BaseException) -> bool:
    """Whether it is meant for who runs the body: a process, a greenlet, the worker."""
    if isinstance(error, SystemExit) and in_pool_process():
        return True  # Celery tells of the process that ended
    if isinstance(error, KeyboardInterrupt):
        # Python itself raises it in the main thread only
        return threading.current_thread() is threading.main_thread()
    if isinstance(error, (WorkerShutdown, WorkerTerminate)):
        return True
    return type(error).__name__ == "GreenletExit"


def _told(error: BaseException) -> Exception:
    """An error that Celery catches, for one that it lets through."""
    if isinstance(error, SystemExit):
        # as for a pool's process that ends: the attempt is lost
        return WorkerLostError("Worker exited prematurely: exit.")
    return Uncaught(f"{type(error).__name__}: {error}")


class Uncaught(Exception):
    """Stands for a body's exception that is no ``Exception``, such as a cancel."""


def _next_call_is_celerys(kind: Any) -> bool:
    after = kind.__mro__[kind.__mro__.index(MetronomeTask) + 1 :]
    owner = next(cls for cls in after if "__call__" in cls.__dict__)
    return owner is Task
