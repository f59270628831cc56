"""What Celery's signals tell about runs, written down.

Handlers are connected strongly, never raise, and count their own failures: a
receiver that raises is only logged by Celery, so a broken one would be silent.
"""

from __future__ import annotations

import functools
import logging
import os
import threading
import time
import uuid
import weakref
from collections.abc import Callable
from importlib.metadata import version
from itertools import chain
from typing import Any

from celery import current_task, signals, states
from celery.worker import state as worker_state
from kombu.exceptions import ContentDisallowed, DecodeError

from flask_metronome.core.death import DeadReason
from flask_metronome.core.run import RunState
from flask_metronome.database import is_disconnect
from flask_metronome.endings import (
    FENCE_HEADER,
    PARENT_HEADER,
    RUN_HEADER,
    ending_from_state,
    fence_of,
    own_headers,
    parent_run_of,
    run_of,
)
from flask_metronome.identity import new_worker_id, own_worker_id, set_worker_id
from flask_metronome.redaction import MESSAGE_LIMIT, excerpt
from flask_metronome.shown import patterns_of
from flask_metronome.state import State, state_of
from flask_metronome.store import workers
from flask_metronome.store.ledger import Ledger, ledger_of
from flask_metronome.store.records import runs_of
from flask_metronome.store.workers import WorkerBeat

logger = logging.getLogger(__name__)

#: How often a worker looks whether its spool can be written.
_REPLAY_SECONDS = 2.0
#: A heartbeat that could not be written is tried again so soon.
_AGAIN_SECONDS = 2.0
#: How long a worker that ends has for what it still has to say.
_STOP_SECONDS = 3.0


def connect_recorder(celery_app: Any) -> Recorder:
    """Record what this Celery app's workers do; calling it again changes nothing."""
    recorder = getattr(celery_app, "metronome_recorder", None)
    if not isinstance(recorder, Recorder):
        recorder = celery_app.metronome_recorder = Recorder(celery_app)
        recorder.connect()
    return recorder


def _counted(handler: Callable[..., None]) -> Callable[..., None]:
    """A handler that never raises; what it could not do is counted."""

    @functools.wraps(handler)
    def guarded(self: Recorder, *args: Any, **kwargs: Any) -> None:
        try:
            handler(self, *args, **kwargs)
        except Exception:
            self.failures += 1
            logger.exception("The recorder's %s failed", handler.__name__)

    return guarded


class Recorder:
    """Signal handlers of one Celery app."""

    def __init__(self, celery_app: Any) -> None:
        # the signals keep us for ever; that must not keep the app
        self._app_ref = weakref.ref(celery_app)
        self._lease: Lease | None = None
        #: Handlers that failed in this process.
        self.failures = 0

    def connect(self) -> None:
        """Connect every handler, strongly and once."""
        uid = uuid.uuid4().hex
        for name, handler in (
            ("before_task_publish", self.on_publish),
            ("task_received", self.on_received),
            ("task_postrun", self.on_postrun),
            ("task_unknown", self.on_unknown),
            ("task_rejected", self.on_rejected),
            ("worker_init", self.on_worker_init),
            ("worker_ready", self.on_worker_ready),
            ("worker_shutdown", self.on_worker_shutdown),
        ):
            getattr(signals, name).connect(
                handler, weak=False, dispatch_uid=f"metronome-{uid}-{name}"
            )

    # -- any publisher ------------------------------------------------------------

    @_counted
    def on_publish(self, headers: Any = None, **_: Any) -> None:
        """Keep our headers on a retry; let a child name the run it comes from."""
        task = current_task
        if not task or not isinstance(headers, dict):
            return
        request = task.request
        if not request.id or not self._is_mine(task):
            return
        if headers.get("id") == request.id:
            for name, value in own_headers(request).items():
                headers.setdefault(name, value)
            if fence_of(request) is not None:
                # Celery has copied the one that this message came with
                headers[FENCE_HEADER] = fence_of(request)
            return
        run_id = run_of(request) or parent_run_of(request)
        if run_id:
            headers.setdefault(PARENT_HEADER, run_id)

    # -- the worker's main process ------------------------------------------------

    @_counted
    def on_received(self, sender: Any = None, request: Any = None, **_: Any) -> None:
        """A worker has a run's message."""
        if getattr(request, "app", None) is not self._app:
            return
        headers = request.request_dict
        if headers.get(RUN_HEADER) == request.id and not headers.get("retries"):
            self._ledger.receive(request.id)

    @_counted
    def on_unknown(
        self, sender: Any = None, message: Any = None, name: str = "", **_: Any
    ) -> None:
        """A message names a task that this worker does not have."""
        self._refused(sender, message, "unregistered", f"There is no task {name!r}.")

    @_counted
    def on_rejected(
        self, sender: Any = None, message: Any = None, exc: Any = None, **_: Any
    ) -> None:
        """A message is no task message, an invalid one, or cannot be read."""
        undecodable = isinstance(exc, (DecodeError, ContentDisallowed))
        reason = DeadReason.UNDECODABLE if undecodable else "invalid_message"
        patterns = self._state.settings.redact
        said = excerpt(f"Refused: {exc}", patterns, MESSAGE_LIMIT)
        self._refused(sender, message, reason, said)

    @_counted
    def on_worker_init(self, sender: Any = None, **_: Any) -> None:
        """Before the pool forks: its processes inherit the worker's id."""
        if getattr(sender, "app", None) is self._app:
            set_worker_id(new_worker_id())

    @_counted
    def on_worker_ready(self, sender: Any = None, **_: Any) -> None:
        """The worker consumes: keep its lease from now on."""
        if getattr(sender, "app", None) is not self._app:
            return
        if own_worker_id() is None:
            set_worker_id(new_worker_id())
        self._ledger.start_writer()
        if complaint := self._ledger.spool.complaint():
            logger.error(
                "What the database does not take will be lost, for want of a spool: %s",
                complaint,
            )
        self._lease = Lease(self._state, self._ledger, sender)
        self._lease.start()

    @_counted
    def on_worker_shutdown(self, sender: Any = None, **_: Any) -> None:
        """The worker ends on purpose: say so, and write what is queued.

        Threads that no shutdown could cut off go on: so does the lease.
        """
        lease, self._lease = self._lease, None
        if lease is not None:
            self._ledger.stop_writer()
            if not _active():
                lease.stop()

    # -- where the body ran -------------------------------------------------------

    @_counted
    def on_postrun(
        self,
        sender: Any = None,
        task: Any = None,
        retval: Any = None,
        state: str | None = None,
        **_: Any,
    ) -> None:
        """End what the backend was not asked to store, such as ignored results."""
        request = task.request
        if fence_of(request) is None or not self._is_mine(task):
            return
        if getattr(request, "metronome_ended", False) or not run_of(request):
            return
        ending = ending_from_state(
            request,
            state or "",
            getattr(retval, "exc", retval) if state == states.RETRY else retval,
            None,
            redact=patterns_of(self._app, task.name),
        )
        if ending is not None:
            request.metronome_ended = True
            self._ledger.write(ending=ending)

    # -- parts --------------------------------------------------------------------

    def _refused(self, consumer: Any, message: Any, reason: str, error: str) -> None:
        if getattr(consumer, "app", None) is not self._app:
            return
        headers = getattr(message, "headers", None) or {}
        run_id = headers.get(RUN_HEADER)
        if isinstance(run_id, str):
            self._ledger.close_unstarted(
                run_id, state=RunState.FAILED, reason=reason, error=error
            )

    def _is_mine(self, task: Any) -> bool:
        app = task.app
        return getattr(app, "_get_current_object", lambda: app)() is self._app

    @property
    def _app(self) -> Any:
        return self._app_ref()

    @property
    def _state(self) -> State:
        return state_of(self._app)

    @property
    def _ledger(self) -> Ledger:
        return ledger_of(self._state)


class Lease:
    """Threads of a worker's main process: one says «alive, and executing these».

    The other replays the spool, so that a long one costs no heartbeat.
    """

    def __init__(self, state: State, ledger: Ledger, consumer: Any) -> None:
        self._state = state
        self._ledger = ledger
        self._consumer = consumer
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=work, name=f"metronome-{name}", daemon=True)
            for name, work in (("lease", self._live), ("spool", self._replay))
        ]
        self._dropped = 0
        self._said = ""

    def start(self) -> None:
        """Begin; the first heartbeat is written at once."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Replay what can be, note the end, within a few seconds."""
        self._over.set()
        give_up = time.monotonic() + _STOP_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, give_up - time.monotonic()))
        try:
            self._ledger.replay(stop=lambda: time.monotonic() > give_up)
            with self._state.database.begin() as connection:
                now = self._state.database.now(connection)
                workers.stop(connection, own_worker_id() or "", now=now)
        except Exception as error:
            logger.warning("The worker's end could not be noted: %s", error)

    def _live(self) -> None:
        seconds = self._state.settings.lease_seconds
        while True:
            said = self._beat()
            if self._over.wait(seconds if said else min(seconds, _AGAIN_SECONDS)):
                return

    def _replay(self) -> None:
        while not self._over.wait(_REPLAY_SECONDS):
            try:
                count = self._ledger.replay(stop=self._over.is_set)
                if count:
                    logger.info("%d spooled records are written", count)
                self._said = ""
            except OSError as error:
                if str(error) != self._said:
                    self._said = str(error)
                    logger.error("The spool cannot be replayed: %s", error)
            except Exception:
                logger.exception("The spool could not be replayed")

    def _beat(self) -> bool:
        try:
            self._dropped += self._ledger.take_dropped()
            words = self._words()
            with self._state.database.begin() as connection:
                now = self._state.database.now(connection)
                workers.heartbeat(connection, words, now=now)
            self._dropped = 0
        except Exception as error:
            level = logging.WARNING if is_disconnect(error) else logging.ERROR
            logger.log(level, "The worker's lease could not be written: %s", error)
            return False
        return True

    def _words(self) -> WorkerBeat:
        spooled = self._ledger.spooled()
        return WorkerBeat(
            id=own_worker_id() or "",
            hostname=str(self._consumer.hostname),
            pid=os.getpid(),
            version=version("Flask-Metronome"),
            lanes=_lanes(self._consumer, self._state.topology),
            # what ended and could not be told yet is not lost
            active=sorted({*_active(), *chain.from_iterable(map(runs_of, spooled))}),
            dropped=self._dropped,
            spooled=len(spooled),
        )


def _lanes(consumer: Any, topology: Any) -> list[str]:
    """The lanes whose queues a worker consumes now."""
    names = {lane.queue_name: lane.name for lane in topology.lanes}
    queues = getattr(getattr(consumer, "task_consumer", None), "queues", None) or []
    consumed = [getattr(queue, "name", str(queue)) for queue in queues]
    return sorted(names.get(name, name) for name in consumed)


def _active() -> list[str]:
    """Ids of the tasks that the pool executes now."""
    for _ in range(5):
        try:
            return sorted(request.id for request in worker_state.active_requests)
        except RuntimeError:  # it changed while we looked
            continue
    return []
