"""A run: its identity, its states, and which state may follow which."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from enum import StrEnum

#: Namespace of all run ids; changing it would make every due time fire anew.
RUN_NAMESPACE = uuid.UUID("5b1b9f0e-6d0b-5c0f-9d43-3e7d6f2a4c11")


class RunState(StrEnum):
    """Where a run stands. The words are those of the design document."""

    PLANNED = "planned"
    PUBLISHED = "published"
    RECEIVED = "received"
    STARTED = "started"
    RETRYING = "retrying"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    LOST = "lost"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"
    MISSED = "missed"
    WAITING = "waiting"


#: No worker has begun the body yet.
UNSTARTED = frozenset(
    {RunState.WAITING, RunState.PLANNED, RunState.PUBLISHED, RunState.RECEIVED}
)
#: A worker holds the claim, or will again after a retry.
LIVE = frozenset({RunState.STARTED, RunState.RETRYING})
OPEN = UNSTARTED | LIVE
#: Ends that somebody should look at; skipped and cancelled were on purpose.
BAD = frozenset(
    {
        RunState.FAILED,
        RunState.TIMED_OUT,
        RunState.LOST,
        RunState.EXPIRED,
        RunState.MISSED,
    }
)
FINAL = frozenset(RunState) - OPEN


class AttemptState(StrEnum):
    """How one execution of a run by a worker stands or ended."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    RETRIED = "retried"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    LOST = "lost"
    REJECTED = "rejected"
    IGNORED = "ignored"
    CANCELLED = "cancelled"


class MissedReason(StrEnum):
    """Why a due time was not met."""

    SCHEDULER_DOWN = "scheduler_down"
    PUBLISH_FAILED = "publish_failed"
    UNROUTABLE = "unroutable"
    OUTSIDE_WINDOW = "outside_window"
    POLICY = "policy"
    CAP = "cap"
    EXPIRED = "expired"


class SkippedReason(StrEnum):
    """Why a due time was left out on purpose."""

    PAUSED = "paused"
    RETIRED = "retired"
    OVERLAP = "overlap"
    WINDOW = "window"
    MAX_RUNS = "max_runs"


#: Origin of a run that the cadence itself made.
AUTO = "auto"
#: What makes runs: the first word of an origin, or catch-up.
TRIGGERS = (AUTO, "catchup", "manual", "backfill", "event")


def trigger_of(origin: str, *, catchup: bool) -> str:
    """Which of :data:`TRIGGERS` made a run; ``other``: somebody's own, by hand."""
    word = origin.partition(":")[0]
    if word == AUTO and catchup:
        return "catchup"
    return word if word in TRIGGERS else "other"


def iso_utc(moment: datetime) -> str:
    """The one spelling of an instant inside identities: UTC, microseconds, Z."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def run_id(schedule_id: str, origin: str, due_at: datetime) -> str:
    """The id of a run, which is also its Celery task id.

    The same occurrence has the same id on every beat, after every crash and
    every edit: that is what makes planning and publishing repeatable.
    """
    return str(uuid.uuid5(RUN_NAMESPACE, f"{schedule_id}|{origin}|{iso_utc(due_at)}"))
