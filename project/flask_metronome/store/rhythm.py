"""How often a schedule is due now, and the limits that follow from it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from flask_metronome.core.cadence import cadence_from_dict
from flask_metronome.core.schedule import Limits
from flask_metronome.core.timing import Timing
from flask_metronome.errors import InputInvalid

#: Gaps kept in memory: twice what has series, so that a scrape counts only those of
#: schedules that were due since the last one.
_KEPT = 2048


@dataclass(frozen=True, kw_only=True, slots=True)
class Rhythm:
    """In seconds; ``None``: there is none.

    :param interval: from the next due time to the one after.
    :param late_after: from its firing on a run that has not begun is late.
    :param no_success_after: two runs of it should have succeeded within.
    """

    interval: float | None = None
    late_after: float | None = None
    no_success_after: float | None = None


def rhythm_of(row: Any) -> Rhythm:
    """That of a schedule's row; of one that cannot be read nothing is known."""
    try:
        return _rhythm(row)
    except (InputInvalid, AttributeError, TypeError, ValueError, OverflowError):
        return Rhythm()


def _rhythm(row: Any) -> Rhythm:
    cadence = json.dumps(row.cadence, sort_keys=True)
    due_at = row.next_due_at
    if due_at is None:
        # paused or over: what a run asked for by hand would be held to
        since = row.last_due_at or row.created_at
        due_at = _due_after(cadence, row.start_at, row.end_at, since)
    gap = None if due_at is None else _gap(cadence, row.start_at, row.end_at, due_at)
    limits = Limits.by_interval(
        gap,
        grace_seconds=row.grace_seconds,
        late_after_seconds=row.late_after_seconds,
    )
    if row.next_due_at is None or gap is None:
        return Rhythm(late_after=limits.late_after_seconds)
    two = 2 * (gap + (row.max_runtime_seconds or 0.0))
    return Rhythm(
        interval=gap,
        late_after=limits.late_after_seconds,
        no_success_after=two + limits.grace_seconds,
    )


def _timing(cadence: str, start_at: datetime | None, end_at: datetime | None) -> Timing:
    return Timing(
        cadence=cadence_from_dict(json.loads(cadence)), start_at=start_at, end_at=end_at
    )


@lru_cache(_KEPT)
def _due_after(
    cadence: str, start_at: datetime | None, end_at: datetime | None, since: datetime
) -> datetime | None:
    return _timing(cadence, start_at, end_at).next_after(since)


@lru_cache(_KEPT)
def _gap(
    cadence: str, start_at: datetime | None, end_at: datetime | None, due_at: datetime
) -> float | None:
    return _timing(cadence, start_at, end_at).interval_seconds(due_at)
