"""When an incident opens and closes: values in, a decision out.

A schedule's runs are looked at in the order in which they ended. Each is good,
bad, blocked, or says nothing; a standing is what is left of them. By it, and by
how many due times are missed right now, an incident opens, closes, or is damped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TypeVar

from flask_metronome.core.run import BAD, MissedReason, RunState, SkippedReason

#: Runs skipped one after the other because the one before was still going.
BLOCKED_IN_A_ROW = 3
#: So many schedules that go bad …
GROUP_SIZE = 5
#: … within so many seconds for one reason are one incident.
GROUP_SECONDS = 60.0
#: So many openings and closings …
FLIPS = 4
#: … within so long are told as one; after as long without a bad run it closes.
QUIET = timedelta(hours=1)

Key = TypeVar("Key")


class Kind(StrEnum):
    """What an incident is about."""

    FAILED = "failed"
    MISSED = "missed"
    STUCK = "stuck"
    BLOCKED = "blocked"
    SYSTEM = "system"


class IncidentState(StrEnum):
    """Where an incident stands."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    CLOSED = "closed"


class Verdict(StrEnum):
    """What one ended run says about its schedule."""

    GOOD = "good"
    BAD = "bad"
    BLOCKED = "blocked"
    NOTHING = "nothing"


@dataclass(frozen=True, kw_only=True, slots=True)
class Thresholds:
    """How many runs in a row open an incident, and how many close it."""

    bad_in_a_row: int = 1
    good_to_close: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """A run that has ended, or a span of due times that made no run.

    :param weight: the due times that it stands for.
    :param in_the_way: it was left out for a run that goes on or waits its turn,
        not for one that could not be sent or that no worker is there for.
    """

    id: str
    state: str
    reason: str | None
    due_at: datetime
    ended_at: datetime
    weight: int = 1
    in_the_way: bool = True

    @property
    def verdict(self) -> Verdict:
        """A retry is no end and never comes here."""
        if self.state in BAD:
            return Verdict.BAD
        if self.state == RunState.SUCCEEDED:
            return Verdict.GOOD
        left_out = (self.state, self.reason) == (
            RunState.SKIPPED,
            SkippedReason.OVERLAP,
        )
        return Verdict.BLOCKED if left_out and self.in_the_way else Verdict.NOTHING


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """What the newest runs of a schedule say, in numbers.

    :param pending: due times missed by now whose runs have not ended.
    :param bad_since: the due time of the first of the bad runs in a row.
    :param flips: when its incidents opened and closed, the last hour.
    """

    bad_in_a_row: int = 0
    good_in_a_row: int = 0
    blocked_in_a_row: int = 0
    pending: int = 0
    bad_since: datetime | None = None
    first_bad_run: str | None = None
    last_bad_run: str | None = None
    last_bad_at: datetime | None = None
    last_good_at: datetime | None = None
    last_good_run: str | None = None
    flips: tuple[datetime, ...] = ()


def after_run(standing: Standing, run: Ended) -> Standing:
    """The standing once this run has ended, too."""
    return _AFTER[run.verdict](standing, run)


def after_runs(standing: Standing, ended: Iterable[Ended]) -> Standing:
    """The standing once these have ended, in the order of their ends.

    What was left out at one instant, by a catch-up or after a burst of events, was
    left out once: it says nothing of how long the run before goes on.
    """
    left_out_at = None
    for run in sorted(ended, key=lambda run: (run.ended_at, run.due_at, run.id)):
        if run.verdict is Verdict.BLOCKED:
            if run.ended_at == left_out_at:
                continue
            left_out_at = run.ended_at
        standing = after_run(standing, run)
    return standing


def _after_bad(standing: Standing, run: Ended) -> Standing:
    fresh = standing.bad_in_a_row == 0
    return replace(
        standing,
        bad_in_a_row=standing.bad_in_a_row + run.weight,
        good_in_a_row=0,
        blocked_in_a_row=0,
        bad_since=run.due_at if fresh else standing.bad_since,
        first_bad_run=run.id if fresh else standing.first_bad_run,
        last_bad_run=run.id,
        last_bad_at=run.ended_at,
    )


def _after_good(standing: Standing, run: Ended) -> Standing:
    return replace(
        standing,
        bad_in_a_row=0,
        good_in_a_row=standing.good_in_a_row + 1,
        blocked_in_a_row=0,
        bad_since=None,
        first_bad_run=None,
        last_bad_run=None,
        last_good_at=run.ended_at,
        last_good_run=run.id,
    )


def _after_blocked(standing: Standing, run: Ended) -> Standing:
    return replace(standing, blocked_in_a_row=standing.blocked_in_a_row + run.weight)


def _after_nothing(standing: Standing, run: Ended) -> Standing:
    return standing


_AFTER: dict[Verdict, Callable[[Standing, Ended], Standing]] = {
    Verdict.GOOD: _after_good,
    Verdict.BAD: _after_bad,
    Verdict.BLOCKED: _after_blocked,
    Verdict.NOTHING: _after_nothing,
}


def with_pending(standing: Standing, count: int, now: datetime) -> Standing:
    """The standing with so many due times missed by now, their runs not ended."""
    if count <= standing.pending:
        return replace(standing, pending=count)
    return replace(standing, pending=count, good_in_a_row=0, last_bad_at=now)


def is_bad(standing: Standing, thresholds: Thresholds) -> bool:
    """Whether enough went wrong in a row for an incident."""
    return standing.bad_in_a_row + standing.pending >= thresholds.bad_in_a_row


def is_good(standing: Standing, thresholds: Thresholds) -> bool:
    """Whether enough went well in a row to close one."""
    missed = standing.bad_in_a_row or standing.pending
    return not missed and standing.good_in_a_row >= thresholds.good_to_close


def is_blocked(standing: Standing) -> bool:
    """Whether runs are left out again and again because one does not end."""
    return standing.blocked_in_a_row >= BLOCKED_IN_A_ROW


def flipped(standing: Standing, now: datetime) -> Standing:
    """The standing after an incident opened or closed just now."""
    return replace(standing, flips=(*_recent(standing, now), now))


def is_flapping(standing: Standing, now: datetime) -> bool:
    """Whether one more opening or closing would be too many within the hour."""
    return len(_recent(standing, now)) + 1 >= FLIPS


def is_quiet(standing: Standing, now: datetime) -> bool:
    """Whether a damped incident may close: an hour without a bad run."""
    return standing.last_bad_at is None or now - standing.last_bad_at >= QUIET


def _recent(standing: Standing, now: datetime) -> tuple[datetime, ...]:
    return tuple(moment for moment in standing.flips if now - moment < QUIET)


def kind_of(state: str | None) -> Kind:
    """The kind that the last bad run makes an incident; None: it is still open."""
    missed = state in (None, RunState.MISSED, RunState.EXPIRED)
    return Kind.MISSED if missed else Kind.FAILED


def shared_cause(state: str | None, reason: str | None, lane: str) -> str | None:
    """What other schedules suffer from at the same time; None: its own affair.

    :param state: how the last bad run ended; None while it is still open.
    """
    if state == RunState.EXPIRED or reason == MissedReason.EXPIRED:
        return f"lane:{lane}"
    if state == RunState.LOST:
        return "workers_lost"
    if kind_of(state) is not Kind.MISSED:
        return None
    return _CAUSES.get(reason or "", "scheduler_down")


_CAUSES: dict[str, str] = {
    MissedReason.PUBLISH_FAILED: "publish_failed",
    MissedReason.UNROUTABLE: "unroutable",
}


def to_group(
    opening: Mapping[Key, str | None],
    lately: Mapping[str, int],
    there: Iterable[str],
) -> set[str]:
    """The causes whose incidents become one.

    :param opening: the cause of each that opens now.
    :param lately: cause → how many opened within :data:`GROUP_SECONDS`.
    :param there: causes that have such an incident already.
    """
    known = set(there)
    found = set()
    for cause in {cause for cause in opening.values() if cause is not None}:
        fresh = sum(other == cause for other in opening.values())
        if cause in known or fresh + lately.get(cause, 0) >= GROUP_SIZE:
            found.add(cause)
    return found
