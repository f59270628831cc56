"""The Celery result backend: result, attempt and run in one transaction.

``AsyncResult`` works for every task, scheduled or not. In a worker nothing
here raises because the database is away; what was to be written is spooled.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from billiard.exceptions import WorkerLostError
from celery import current_task, states
from celery.app.task import Context
from celery.backends.base import BaseBackend
from celery.exceptions import TaskRevokedError
from celery.result import result_from_tuple
from kombu.exceptions import DecodeError, EncodeError
from kombu.serialization import dumps, loads
from kombu.utils.encoding import ensure_bytes

from flask_metronome.core.run import BAD, LIVE, MissedReason, RunState
from flask_metronome.database import Database
from flask_metronome.endings import ending_from_state, fence_of, parent_run_of, run_of
from flask_metronome.redaction import (
    ARGUMENT_LIMIT,
    LOGGED_LIMIT,
    TRACEBACK_LIMIT,
    clip,
    excerpt,
    redact,
)
from flask_metronome.shown import patterns_of, shown_arguments
from flask_metronome.state import State, state_of
from flask_metronome.store import results
from flask_metronome.store.ledger import Ledger, ledger_of
from flask_metronome.store.results import Result

#: Ends of runs that nobody will ever store a result for.
_REVOKED = frozenset(
    {RunState.CANCELLED, RunState.EXPIRED, RunState.SKIPPED, RunState.MISSED}
)
#: Why a run ended that nobody could tell the backend of: its body said nothing.
_SAID_BY_MONITORS = (None, "Lost", "DeadLetter")


class ResultBackend(BaseBackend):
    """Results in ``metronome_results``; made by Celery for each app and thread."""

    # how often ``AsyncResult.get`` asks
    subpolling_interval = 0.5
    supports_result_compression = True

    def __init__(self, app: Any, url: str | None = None, **options: Any) -> None:
        super().__init__(app=app, url=url, **options)

    def as_uri(self, include_password: bool = False) -> str:
        """What the worker's banner shows."""
        return f"metronome+{self._database.public_url}"

    def store_result(
        self,
        task_id: str,
        result: Any,
        state: str,
        traceback: str | None = None,
        request: Any = None,
        **options: Any,
    ) -> Any:
        """Store a state; never raises for the database's sake.

        :raises kombu.exceptions.EncodeError: when the result is not serializable.
        """
        encoded = self.encode_result(result, state)
        if isinstance(result, BaseException) and isinstance(encoded, dict):
            patterns = self._patterns_of(request)
            message = redact(encoded.get("exc_message"), patterns)
            encoded = {**encoded, "exc_message": message}
        row = self._row(task_id, encoded, state, traceback, request)
        if request is None or run_of(request, task_id) is None:
            self._ledger.post(result=row, inline=_in_task())
            if request is None and isinstance(result, BaseException):
                self._end_replaced(task_id, state, result, traceback)
        else:
            self._store_for_run(request, state, result, traceback, row)
        return encoded

    def encode_result(self, result: Any, state: str) -> Any:
        """Prepare a result for storage, and any error in place of one."""
        # before 5.7 Celery passes on what is no Exception, such as SystemExit
        if state in self.EXCEPTION_STATES and isinstance(result, BaseException):
            return self.prepare_exception(result)
        return super().encode_result(result, state)

    def prepare_exception(self, exc: Any, serializer: str | None = None) -> Any:
        """Prepare an exception for storage, without secrets or endless text.

        As its name and arguments with every serializer: a pickled exception could
        not be rid of its secrets.
        """
        prepared = super().prepare_exception(exc, serializer or "json")
        if isinstance(prepared, dict) and "exc_message" in prepared:
            prepared["exc_message"] = redact(
                prepared["exc_message"], self._patterns, text_limit=LOGGED_LIMIT
            )
        return prepared

    def task_result_exists(self, task_id: str) -> bool:
        """Whether anything is stored for a task, or a run of that id is begun."""
        return bool(self.get_task_meta(task_id)["status"] != states.PENDING)

    def cleanup(self) -> None:
        """Remove what is older than ``result_expires``."""
        if not self.expires:
            return
        removed, batch = 1, 1000
        while removed:
            with self._database.begin() as connection:
                before = self._database.now(connection) - timedelta(
                    seconds=float(self.expires)
                )
                removed = results.prune(connection, before=before, batch=batch)

    # -- storing ------------------------------------------------------------------

    def _store_for_run(
        self, request: Any, state: str, outcome: Any, trace: str | None, row: Result
    ) -> None:
        fence = fence_of(request)
        if state == states.STARTED:
            return  # the claim says so, after this
        if state == states.REVOKED and _close(self._ledger, request, outcome):
            return
        ending = ending_from_state(
            request,
            state,
            outcome,
            trace,
            redact=self._patterns_of(request),
            comes_back=self._comes_back(request, state, outcome),
        )
        if ending is None:
            holder = (request.id, fence) if fence is not None else None
            self._ledger.write(result=row, holder=holder)
            return
        if fence is not None:
            request.metronome_ended = True
        self._ledger.post(
            ending=ending,
            result=row if state != states.REVOKED else None,
            inline=_in_task(),
        )

    def _end_replaced(
        self, task_id: str, state: str, error: BaseException, trace: str | None
    ) -> None:
        """A failed chord's callback, which may be what a run was replaced by."""
        nobody = Context(id=task_id)
        ending = ending_from_state(nobody, state, error, trace, redact=self._patterns)
        if ending is not None:
            self._ledger.post(ending=ending, inline=_in_task())

    def _row(
        self, task_id: str, encoded: Any, state: str, trace: str | None, request: Any
    ) -> Result:
        return Result(
            task_id=task_id,
            status=state,
            done=state in self.READY_STATES,
            result=ensure_bytes(self.encode(encoded)),
            content_type=self.content_type,
            content_encoding=self.content_encoding,
            traceback=_traceback(trace, self._patterns_of(request)),
            children=self.current_task_children(request) or None,
            **self._about(request),
        )

    def _about(self, request: Any) -> dict[str, Any]:
        if request is None:
            return {}
        about: dict[str, Any] = {
            "name": _text(getattr(request, "task", None)),
            "worker": _text(getattr(request, "hostname", None)),
            "retries": getattr(request, "retries", None),
            "parent_id": _text(getattr(request, "parent_id", None)),
            "group_id": _text(getattr(request, "group", None)),
            "run_id": parent_run_of(request),
            "queue": _routing_key(getattr(request, "delivery_info", None)),
        }
        if self.app.conf.find_value_for_key("extended", "result"):
            given = getattr(request, "args", None), getattr(request, "kwargs", None)
            name, limit = about["name"], ARGUMENT_LIMIT
            shown = shown_arguments(self.app, name, *given, text_limit=limit)
            patterns = self._patterns_of(request)
            texts = (_argument(value, patterns) for value in shown)
            about |= dict(zip(("args", "kwargs"), texts, strict=True))
        return about

    def _comes_back(self, request: Any, state: str, outcome: Any) -> bool:
        """Whether the broker keeps the message of an attempt that is lost."""
        task = self.app.tasks.get(getattr(request, "task", None))
        if not getattr(task, "acks_late", True):
            return False
        # of a killed pool process this is told only when its message is gone
        left = isinstance(outcome, WorkerLostError) and fence_of(request) is not None
        if left:
            return bool(getattr(task, "reject_on_worker_lost", True))
        return state == states.RETRY

    # -- reading ------------------------------------------------------------------

    def _get_task_meta_for(self, task_id: str) -> dict[str, Any]:
        with self._database.read() as connection:
            row = results.find(connection, task_id)
            run = None
            if row is None or row.status not in self.READY_STATES:
                run = results.find_run(connection, task_id)
        meta = _meta_of_run(run, task_id, None if row is None else row.status)
        if meta is None:
            meta = self._meta_of_row(row, task_id)
        decoded: dict[str, Any] = self.meta_from_decoded(meta)
        return decoded

    def _meta_of_row(self, row: Any, task_id: str) -> dict[str, Any]:
        if row is None:
            return _meta(task_id, states.PENDING, None)
        meta = _meta(task_id, row.status, self._decode_row(row))
        meta |= {
            "traceback": row.traceback,
            "children": row.children or [],
            "date_done": row.done_at,
        }
        for name in ("name", "worker", "retries", "queue", "parent_id", "group_id"):
            value = getattr(row, name)
            if value is not None:
                meta[name] = value
        for name in ("args", "kwargs"):
            value = getattr(row, name)
            if value is not None:
                meta[name] = self._decode_argument(value)
        return meta

    def _decode_row(self, row: Any) -> Any:
        if row.result is None:
            return None
        payload = bytes(row.result)
        if row.content_type in (None, self.content_type):
            return self.decode(payload)
        return loads(payload, row.content_type, row.content_encoding, self.accept)

    def _decode_argument(self, text: str) -> Any:
        try:
            return loads(text, "application/json", "utf-8", {"application/json"})
        except DecodeError:
            return text  # it was cut, or is no JSON

    # -- groups -------------------------------------------------------------------

    def _save_group(self, group_id: str, result: Any) -> Any:
        encoded = ensure_bytes(self.encode(self.prepare_value(result)))
        with self._database.begin() as connection:
            now = self._database.now(connection)
            results.save_group(connection, group_id, encoded, now=now)
        return result

    def _restore_group(self, group_id: str) -> dict[str, Any] | None:
        with self._database.read() as connection:
            row = results.find_group(connection, group_id)
        if row is None:
            return None
        value = self.decode(bytes(row.result))
        return {
            "task_id": group_id,
            "result": value if value is None else result_from_tuple(value, self.app),
            "date_done": row.done_at,
        }

    def _delete_group(self, group_id: str) -> None:
        with self._database.begin() as connection:
            results.delete_group(connection, group_id)

    def _forget(self, task_id: str) -> None:
        with self._database.begin() as connection:
            results.forget(connection, task_id)

    # -- the app's parts ----------------------------------------------------------

    @property
    def _state(self) -> State:
        return state_of(self.app)

    @property
    def _database(self) -> Database:
        return self._state.database

    @property
    def _ledger(self) -> Ledger:
        return ledger_of(self._state)

    @property
    def _patterns(self) -> tuple[str, ...]:
        return self._state.settings.redact

    def _patterns_of(self, request: Any) -> tuple[str, ...]:
        return patterns_of(self.app, getattr(request, "task", None))


def _in_task() -> bool:
    return bool(current_task)


def _close(ledger: Ledger, request: Any, outcome: Any) -> bool:
    """End a run that was revoked before a body began; whether it was that."""
    why = str(outcome.args[0]) if getattr(outcome, "args", None) else ""
    if why == "terminated":
        return False
    expired = why == MissedReason.EXPIRED
    ledger.close_unstarted(
        request.id,
        state=RunState.EXPIRED if expired else RunState.CANCELLED,
        reason=MissedReason.EXPIRED if expired else "revoked",
    )
    return True


def _meta(task_id: str, status: str, result: Any) -> dict[str, Any]:
    return {
        "task_id": task_id,
        "status": status,
        "result": result,
        "traceback": None,
        "children": [],
        "date_done": None,
    }


def _meta_of_run(run: Any, task_id: str, stored: str | None) -> dict[str, Any] | None:
    """What a run's own state says, where no result does; ``None`` for nothing."""
    if run is None:
        return None
    state = RunState(run.state)
    if state in _REVOKED:
        error = _encoded(TaskRevokedError.__module__, "TaskRevokedError", run.reason)
        return _meta(task_id, states.REVOKED, error)
    if state in BAD:
        kind = run.error_type
        if kind in _SAID_BY_MONITORS:
            kind = f"{WorkerLostError.__module__}.{WorkerLostError.__name__}"
        module, _, name = kind.rpartition(".")
        module = module or "builtins"
        return _meta(task_id, states.FAILURE, _encoded(module, name, run.error))
    if state in LIVE and stored in (None, states.STARTED, states.RETRY):
        if state is RunState.RETRYING:
            return (
                None if stored == states.RETRY else _meta(task_id, states.RETRY, None)
            )
        about = {"pid": run.pid, "hostname": run.worker}
        return _meta(task_id, states.STARTED, about)
    return None


def _encoded(module: str, name: str, message: str | None) -> dict[str, Any]:
    return {"exc_module": module, "exc_type": name, "exc_message": [message or ""]}


def _traceback(trace: Any, patterns: Sequence[str]) -> str | None:
    if trace is None:
        return None
    return excerpt(str(trace), patterns, 4 * TRACEBACK_LIMIT, both_ends=True)


def _argument(value: Any, patterns: Sequence[str]) -> str | None:
    """As text with every serializer: it is there to be shown."""
    if value is None:
        return None
    try:
        return clip(dumps(value, serializer="json")[2], ARGUMENT_LIMIT)
    except EncodeError:
        # it may hold objects, whose description may hold secrets
        return excerpt(repr(value), patterns, ARGUMENT_LIMIT)


def _text(value: Any) -> str | None:
    return None if value is None else str(value)[:255]


def _routing_key(info: Any) -> str | None:
    """The routing key, without what Celery's delayed delivery puts before it."""
    key = (info or {}).get("routing_key")
    if not key:
        return None
    words = str(key).split(".")
    while len(words) > 2 and words[0] in "01":
        del words[0]
    return ".".join(words)[:255]
