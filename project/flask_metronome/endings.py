"""From what Celery says about a task to how its attempt ended.

Celery says it in two places: in the pool process that ran the body (then the
request carries the fence of the claim), and in the worker's main process about
a pool process that cannot speak any more.
"""

from __future__ import annotations

import time
import traceback as tracebacks
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from billiard.exceptions import (
    SoftTimeLimitExceeded,
    TimeLimitExceeded,
    WorkerLostError,
)
from celery import states
from celery.exceptions import Reject, Retry
from celery.utils.serialization import UnpickleableExceptionWrapper

from flask_metronome.core.ending import Ending, LostCause, fingerprint
from flask_metronome.core.run import AttemptState
from flask_metronome.identity import own_worker_id
from flask_metronome.redaction import (
    MESSAGE_LIMIT,
    TRACEBACK_LIMIT,
    excerpt,
)

RUN_HEADER = "metronome_run"
PARENT_HEADER = "metronome_parent_run"
#: Of a retry: the fence of the attempt that asks for it.
FENCE_HEADER = "metronome_fence"
_PREFIX = "metronome_"
#: Of W3C's trace context: which span sent the run.
TRACE_HEADERS = frozenset({"traceparent", "tracestate"})


def run_of(request: Any, task_id: str | None = None) -> str | None:
    """The run that a request executes; ``None`` when it is no scheduled one."""
    headers = getattr(request, "headers", None)
    if not headers or getattr(request, "is_eager", False):
        return None
    run_id = headers.get(RUN_HEADER)
    return run_id if run_id == (task_id or request.id) else None


def parent_run_of(request: Any) -> str | None:
    """The run whose body started this task, at whatever distance."""
    headers = getattr(request, "headers", None) or {}
    found = headers.get(PARENT_HEADER)
    return found if isinstance(found, str) else None


def fence_of(request: Any) -> int | None:
    """The fence of the claim that this process made for the request."""
    # not by the header's name: Celery makes attributes of a message's headers,
    # and a retry's tells the fence of the attempt before
    return getattr(request, "claimed_fence", None)


def own_headers(request: Any) -> dict[str, Any]:
    """Those of our headers that a request hands on, its trace among them."""
    headers = getattr(request, "headers", None) or {}
    own = {
        k: v for k, v in headers.items() if k.startswith(_PREFIX) or k in TRACE_HEADERS
    }
    fence = fence_of(request)
    return own if fence is None else {**own, FENCE_HEADER: fence}


def ending_of(
    request: Any,
    state: AttemptState,
    *,
    error: BaseException | None = None,
    trace: str | None = None,
    redact: Sequence[str] = (),
    **more: Any,
) -> Ending:
    """An ending of the request's attempt, as ``state``, with its error.

    :param trace: the traceback as text; by default the error's own.
    :param redact: key patterns whose values are not stored.
    """
    fence = fence_of(request)
    since = getattr(request, "metronome_since", None)
    return Ending(
        run_id=request.id,
        retries=getattr(request, "retries", 0) or 0,
        state=state,
        fence=fence,
        worker_id=own_worker_id() if fence is None else None,
        pid=getattr(request, "metronome_pid", None) if fence is None else None,
        runtime_seconds=None if since is None else time.monotonic() - since,
        not_replaced=bool(getattr(request, "metronome_not_replaced", False)),
        **_error_values(error, trace, redact),
        **more,
    )


def ending_from_state(
    request: Any,
    celery_state: str,
    outcome: Any,
    trace: str | None,
    *,
    redact: Sequence[str] = (),
    comes_back: bool = True,
) -> Ending | None:
    """The ending that a Celery state means; ``None`` for one that ends nothing.

    :param outcome: the return value or the exception.
    :param comes_back: whether the broker still has the message of an attempt
        that is lost.
    """
    if celery_state == states.SUCCESS:
        return ending_of(request, AttemptState.SUCCEEDED)
    if celery_state == states.RETRY:
        return _retry(request, outcome, trace, redact, comes_back)
    error = outcome if isinstance(outcome, BaseException) else None
    if celery_state == states.FAILURE:
        return _failure(request, error, trace, redact, comes_back)
    if celery_state == states.REVOKED:
        return ending_of(
            request,
            AttemptState.CANCELLED,
            error=error,
            redact=redact,
            reason="revoked",
        )
    return None


def _failure(
    request: Any,
    error: BaseException | None,
    trace: str | None,
    redact: Sequence[str],
    comes_back: bool,
) -> Ending:
    more: dict[str, Any] = {}
    state = AttemptState.FAILED
    if isinstance(error, WorkerLostError):
        state = AttemptState.LOST
        killed = "signal" in str(error)
        more["lost_cause"] = LostCause.CHILD_KILLED if killed else LostCause.EXIT
        more["comes_back"] = comes_back
    elif isinstance(error, (TimeLimitExceeded, SoftTimeLimitExceeded)):
        state = AttemptState.TIMED_OUT
        soft = isinstance(error, SoftTimeLimitExceeded)
        more["reason"] = "soft_time_limit" if soft else "time_limit"
    elif isinstance(error, Reject):
        return rejection(request, error, redact, comes_back=comes_back)
    return ending_of(request, state, error=error, trace=trace, redact=redact, **more)


def rejection(
    request: Any, reject: Reject, redact: Sequence[str], *, comes_back: bool
) -> Ending:
    """The body refused the message, or its retry could not be published.

    :param comes_back: whether the broker can deliver the message again.
    """
    cause = reject.reason if isinstance(reject.reason, BaseException) else None
    text = f"Rejected: {reject.reason}" if reject.reason else "Rejected"
    return ending_of(
        request,
        AttemptState.REJECTED,
        error=cause or Rejected(text),
        redact=redact,
        reason="retry_publish_failed" if cause is not None else "rejected",
        comes_back=comes_back and bool(reject.requeue),
    )


class Rejected(Exception):
    """Stands for a body's ``Reject`` that gave no exception as its reason."""


def _retry(
    request: Any,
    outcome: Any,
    trace: str | None,
    redact: Sequence[str],
    comes_back: bool,
) -> Ending:
    cancelled = isinstance(outcome, Retry) and fence_of(request) is None
    if cancelled:
        # Celery says «retry» when it cancels a body, whether or not anything
        # will run again; what it was is recorded before
        return ending_of(
            request,
            AttemptState.LOST,
            lost_cause=LostCause.COLD_SHUTDOWN,
            comes_back=comes_back,
        )
    retry = getattr(request, "metronome_retry", None)
    error = outcome.exc if isinstance(outcome, Retry) else outcome
    error = error if isinstance(error, BaseException) else None
    reason = str(retry.message or "") if retry is not None else ""
    reason = reason or (repr(error) if error is not None else "")
    return ending_of(
        request,
        AttemptState.RETRIED,
        error=error,
        trace=trace,
        redact=redact,
        retry_reason=excerpt(reason, redact, MESSAGE_LIMIT) or None,
        **_retry_time(retry),
    )


def _retry_time(retry: Any) -> dict[str, Any]:
    """When a retry is due; a countdown counts from the database's now."""
    when = getattr(retry, "when", None)
    if isinstance(when, datetime):
        return {"retry_at": when if when.tzinfo else when.replace(tzinfo=UTC)}
    if isinstance(when, (int, float)):
        return {"retry_after_seconds": float(when)}
    return {}


def _error_values(
    error: BaseException | None, trace: str | None, redact: Sequence[str]
) -> dict[str, Any]:
    if error is None:
        return {}
    name = _kind(error)
    if trace is None and error.__traceback__ is not None:
        trace = "".join(tracebacks.format_exception(error))
    return {
        "error_type": name,
        "error": excerpt(str(error), redact, MESSAGE_LIMIT),
        "traceback": None
        if trace is None
        else excerpt(str(trace), redact, TRACEBACK_LIMIT, both_ends=True),
        "fingerprint": fingerprint(name, error.__traceback__),
    }


def _kind(error: BaseException) -> str:
    """The type's full name; also of one that Celery stands another in for."""
    if isinstance(error, UnpickleableExceptionWrapper):
        module, name = error.exc_module, error.exc_cls_name
    else:
        module, name = type(error).__module__, type(error).__qualname__
    return str(name if module == "builtins" else f"{module}.{name}")
