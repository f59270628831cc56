"""The tick's decision as data: what becomes of due times, and who is in the way."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from flask_metronome.core.run import RunState


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedRun:
    """One row to record: a run, or a due time (or span) that makes no work."""

    id: str
    origin: str
    due_at: datetime
    fires_at: datetime
    state: RunState
    reason: str | None = None
    catchup: bool = False
    missed: bool = False
    missed_from: datetime | None = None
    missed_to: datetime | None = None
    missed_count: int = 0
    grace_until: datetime
    late_after_seconds: float
    deadline_at: datetime | None = None

    @property
    def makes_work(self) -> bool:
        """Whether a worker will see it."""
        return self.state in (RunState.PLANNED, RunState.WAITING)


@dataclass(kw_only=True, slots=True)
class Occupancy:
    """How many runs of one concurrency key are open, as the tick goes on.

    ``active`` are planned up to retrying, ``waiting`` are the ids that wait
    their turn, oldest first.
    """

    active: list[str] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What to write for one schedule."""

    runs: tuple[PlannedRun, ...]
    superseded: tuple[str, ...] = ()
    cancelled: tuple[str, ...] = ()
    next_due_at: datetime | None = None
    miss_after_at: datetime | None = None
    last_due_at: datetime | None = None
    runs_made: int = 0
    finished: bool = False
