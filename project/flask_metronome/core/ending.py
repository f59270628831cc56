"""How an attempt ended, and what that makes of its run. Pure."""

from __future__ import annotations

import hashlib
import traceback
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import TracebackType

from flask_metronome.core.run import AttemptState, RunState

#: Frames of these packages are not what a failure is about, if there are others.
_FOREIGN = frozenset({"celery", "kombu", "billiard", "flask_metronome", "vine"})


class LostCause(StrEnum):
    """Why an attempt will never report."""

    CHILD_KILLED = "child_killed"
    EXIT = "exit"
    WORKER_DEAD = "worker_dead"
    COLD_SHUTDOWN = "cold_shutdown"
    CONNECTION = "connection"
    SUPERSEDED = "superseded"
    VANISHED = "vanished"


@dataclass(frozen=True, kw_only=True, slots=True)
class Ending:
    """How one attempt ended.

    :param fence: of the claim; ``None`` when a process that did not make the
        claim reports it (a worker's main process about its child).
    :param worker_id: with no fence, the worker whose attempt it is.
    :param pid: with no fence, the process of its pool that had it, if known.
    :param comes_back: the broker will deliver the message again.
    :param not_replaced: the task that was to take over the run was not published:
        this attempt still says how it ended.
    :param retry_after_seconds: instead of ``retry_at``, from when it is written.
    :param runtime_seconds: measured by whoever ran it, if it could.
    """

    run_id: str
    retries: int
    state: AttemptState
    fence: int | None = None
    worker_id: str | None = None
    pid: int | None = None
    reason: str | None = None
    error_type: str | None = None
    error: str | None = None
    fingerprint: str | None = None
    traceback: str | None = None
    retry_reason: str | None = None
    retry_at: datetime | None = None
    retry_after_seconds: float | None = None
    lost_cause: str | None = None
    comes_back: bool = False
    not_replaced: bool = False
    runtime_seconds: float | None = None


_SAME = {
    AttemptState.SUCCEEDED: RunState.SUCCEEDED,
    AttemptState.FAILED: RunState.FAILED,
    AttemptState.TIMED_OUT: RunState.TIMED_OUT,
    AttemptState.CANCELLED: RunState.CANCELLED,
    # the body said that there is no outcome to record
    AttemptState.IGNORED: RunState.CANCELLED,
    AttemptState.REJECTED: RunState.FAILED,
    AttemptState.RETRIED: RunState.RETRYING,
}


def run_state_after(ending: Ending, on_lost: str) -> RunState:
    """The state of a started run after its attempt ended so.

    A lost attempt whose message comes back leaves the run started: whoever
    gets the message decides, in the claim.
    """
    if ending.state is AttemptState.LOST:
        if ending.comes_back:
            return RunState.STARTED
        return RunState.PLANNED if on_lost == "rerun" else RunState.LOST
    if ending.comes_back:
        # handed back to the broker, or replaced by another task of the same id
        return RunState.RETRYING
    return _SAME[ending.state]


def fingerprint(kind: str, trace: TracebackType | None) -> str:
    """What groups equal failures: the exception's type and the last own function.

    By its module's name: the same on every host, wherever the code lies there.
    """
    frames = [
        (str(frame.f_globals.get("__name__")), frame.f_code.co_qualname)
        for frame, _ in traceback.walk_tb(trace)
    ]
    own = [f for f in frames if f[0].partition(".")[0] not in _FOREIGN]
    where = ":".join((own or frames or [("", "")])[-1])
    return hashlib.sha256(f"{kind}|{where}".encode()).hexdigest()
