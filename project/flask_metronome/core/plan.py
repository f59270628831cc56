"""What one schedule's due times become: the tick's decision as data.

``plan`` is pure. It is given a schedule, the instant, and who of its
concurrency key is still at work; it answers with the runs to record, where
the schedule stands afterwards, and which earlier runs give way.

1. Every due time after the high-water mark and up to ``now`` is decided here,
   once. A due time at most ``grace`` old, from when its jitter lets it go, is on
   time; older ones are missed.
2. On-time due times become runs, one each; the overlap policy says whether
   such a run is planned, waits, or is skipped.
3. Missed due times become what the catch-up policy says. What makes no work
   becomes one range row with its reason, so that nothing vanishes. So does what
   is due after the last run that ``max_runs`` allows.
4. ``next_due_at`` is the first due time after the last one decided.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice

from flask_metronome.core.planned import Occupancy, Plan, PlannedRun
from flask_metronome.core.run import (
    AUTO,
    MissedReason,
    RunState,
    SkippedReason,
    run_id,
)
from flask_metronome.core.schedule import Limits, Schedule

__all__ = ["Occupancy", "Plan", "PlannedRun", "plan"]

#: Due times of one schedule that a tick decides; the rest waits for the next.
MOST_PER_TICK = 500
#: What a span's row can say of its due times; a column of 32 bits holds it.
MOST_COUNTED = 2**31 - 1


def first_due_at(schedule: Schedule, now: datetime) -> datetime | None:
    """The due time a new, edited or resumed schedule begins with.

    Never in the past and never one that was decided before, so that no edit
    and no resume fires a past instant.
    """
    floor = max(filter(None, (now, schedule.last_due_at)))
    return schedule.definition.timing.next_after(floor)


def miss_after(schedule: Schedule, due_at: datetime | None) -> datetime | None:
    """When that due time counts as missed; ``None`` without a due time."""
    if due_at is None:
        return None
    timing = schedule.definition.timing
    limits = Limits.of(schedule.definition, timing.interval_seconds(due_at))
    grace = timedelta(seconds=limits.grace_seconds)
    return timing.fires_at(schedule.id, due_at) + grace


def plan(schedule: Schedule, now: datetime, occupancy: Occupancy) -> Plan:
    """Decide every due time of ``schedule`` up to ``now``.

    :param occupancy: who of its concurrency key is open; what this plan adds
        or takes away is entered into it, for the next schedule of the key.
    """
    return _Planner(schedule, now, occupancy).decide()


def plan_event(
    schedule: Schedule, origin: str, due_at: datetime, occupancy: Occupancy
) -> Plan:
    """Decide one due time that another schedule's run made, not the cadence.

    :param origin: says which run, so that it makes one run and no second.
    """
    planner = _Planner(schedule, due_at, occupancy)
    own_id = run_id(schedule.id, origin, due_at)
    planner._occurrence(due_at, origin=origin, id=own_id)
    decided = planner._standing_at(due_at)
    return replace(decided, finished=planner._is_used_up())


class _Planner:
    """One schedule, one instant: the steps of :func:`plan`."""

    def __init__(self, schedule: Schedule, now: datetime, occupancy: Occupancy) -> None:
        self.schedule = schedule
        self.definition = schedule.definition
        self.timing = schedule.definition.timing
        self.now = now
        self.occupancy = occupancy
        self.rows: list[PlannedRun] = []
        self.superseded: list[str] = []
        self.cancelled: list[str] = []
        self.made = schedule.runs_made
        self.beyond: datetime | None = None
        self._next: dict[datetime, datetime | None] = {}

    def decide(self) -> Plan:
        due = self.schedule.next_due_at
        if due is None:
            return self._standing_at(self.schedule.last_due_at, fresh=True)
        if due > self.now:
            return self._standing_at(self.schedule.last_due_at)
        decided = due
        newest_missed = self._newest_missed(due)
        if newest_missed is not None:
            self._catch_up(due, newest_missed)
            decided = newest_missed
        for moment in self._on_time(due, newest_missed):
            self._occurrence(moment)
            decided = moment
        return self._standing_at(self._leave_out_the_rest() or decided)

    # -- what is missed, what is on time ------------------------------------

    def _newest_missed(self, first: datetime) -> datetime | None:
        """The newest due time whose grace is over, if there is one."""
        following = self._following(first)
        if following is None or following > self.now:
            # the common case: one due time, nothing else to look at
            return first if self._is_missed(first) else None
        newest = self.now
        if self._grace_is_constant:
            grace = timedelta(seconds=self._limits(first).grace_seconds)
            newest = self.now - grace - _TINY
        # Grace is at least 30 s and at most half an interval beyond that, and jitter
        # less than an interval, so this walk is some thirty steps of a one-second
        # cron at the most, and of a constant grace one or two.
        candidate = self.timing.previous_at_or_before(newest)
        while candidate is not None and not self._is_missed(candidate):
            if candidate <= first:
                return None
            candidate = self.timing.previous_at_or_before(candidate - _TINY)
        return candidate if candidate is not None and candidate >= first else None

    @property
    def _grace_is_constant(self) -> bool:
        set_by_hand = self.definition.grace_seconds is not None
        return set_by_hand or self.definition.cadence.kind == "every"

    def _following(self, due_at: datetime) -> datetime | None:
        if due_at not in self._next:
            self._next[due_at] = self.timing.next_after(due_at)
        return self._next[due_at]

    def _limits(self, due_at: datetime) -> Limits:
        following = self._following(due_at)
        if following is None:
            interval = self.timing.interval_seconds(due_at)
        else:
            interval = (following - due_at).total_seconds()
        return Limits.of(self.definition, interval)

    def _is_missed(self, due_at: datetime) -> bool:
        return self.now > self._miss_after(due_at)

    def _miss_after(self, due_at: datetime) -> datetime:
        fires_at = self.timing.fires_at(self.schedule.id, due_at)
        return fires_at + timedelta(seconds=self._limits(due_at).grace_seconds)

    def _on_time(
        self, first: datetime, newest_missed: datetime | None
    ) -> Iterator[datetime]:
        if newest_missed is None and (self._following(first) or _NEVER) > self.now:
            return iter((first,))
        after = newest_missed if newest_missed is not None else first - _TINY
        return islice(self.timing.between(after, self.now), MOST_PER_TICK)

    # -- rows ----------------------------------------------------------------

    def _row(self, due_at: datetime, state: RunState, **more: object) -> PlannedRun:
        limits = self._limits(due_at)
        fires_at = self.timing.fires_at(self.schedule.id, due_at)
        deadline = self.definition.start_deadline_seconds
        row = PlannedRun(
            id=run_id(self.schedule.id, AUTO, due_at),
            origin=AUTO,
            due_at=due_at,
            fires_at=fires_at,
            state=state,
            grace_until=fires_at + timedelta(seconds=limits.grace_seconds),
            late_after_seconds=limits.late_after_seconds,
            deadline_at=fires_at + timedelta(seconds=deadline) if deadline else None,
        )
        return replace(row, **more)  # type: ignore[arg-type]

    def _range(
        self, first: datetime, last: datetime, state: RunState, reason: str
    ) -> None:
        """One row for a span of due times that make no work."""
        count = self._count(first - _TINY, last)
        if count == 0:
            return
        self.rows.append(
            self._row(
                first,
                state,
                reason=reason,
                missed=state is RunState.MISSED,
                missed_from=first,
                missed_to=last,
                missed_count=count,
            )
        )

    def _occurrence(self, due_at: datetime, **more: object) -> None:
        """A due time that makes work, as far as the overlap policy lets it."""
        if self._is_used_up():
            self.beyond = self.beyond or due_at
            return
        row = self._row(due_at, RunState.PLANNED, **more)
        if row.deadline_at is not None and row.deadline_at < self.now:
            self.rows.append(
                replace(
                    row,
                    state=RunState.EXPIRED,
                    reason=MissedReason.EXPIRED,
                    missed=True,
                )
            )
            return
        row = self._give_way(row)
        if row.makes_work:
            self.made += 1
        self.rows.append(row)

    def _is_used_up(self) -> bool:
        most = self.definition.max_runs
        return most is not None and self.made >= most

    def _leave_out_the_rest(self) -> datetime | None:
        """One row for what is due after the last run; the last of it."""
        if self.beyond is None:
            return None
        last = self.timing.previous_at_or_before(self.now) or self.beyond
        self._range(self.beyond, last, RunState.SKIPPED, SkippedReason.MAX_RUNS)
        return last

    # -- overlap -------------------------------------------------------------

    def _give_way(self, row: PlannedRun) -> PlannedRun:
        """Apply the overlap policy and enter the row into the occupancy."""
        policy = self.definition.overlap_of(catchup=row.catchup)
        there = self.occupancy
        busy = bool(there.active or there.waiting)
        if policy == "allow" or not busy:
            there.active.append(row.id)
            return row
        if policy == "cancel_previous":
            self.cancelled += there.active + there.waiting
            there.active, there.waiting = [row.id], []
            return row
        if policy == "skip":
            return _skipped(row)
        return self._queue(row, one=policy == "queue_one")

    def _queue(self, row: PlannedRun, *, one: bool) -> PlannedRun:
        there = self.occupancy
        if one:
            # the newest waits; whoever waited before gives way to it
            self.superseded += there.waiting
            there.waiting = []
        elif len(there.waiting) >= self.definition.catchup_limit:
            return _skipped(row)
        there.waiting.append(row.id)
        return replace(row, state=RunState.WAITING)

    # -- catch-up ------------------------------------------------------------

    def _catch_up(self, first: datetime, newest: datetime) -> None:
        {
            "latest": self._catch_up_latest,
            "earliest": self._catch_up_earliest,
            "all": self._catch_up_all,
            "none": self._catch_up_none,
        }[self.definition.catchup](first, newest)

    def _count(self, after: datetime, until: datetime) -> int:
        return self.timing.count_between(after, until, MOST_COUNTED)

    def _caught_up(self, due_at: datetime, others: int = 0) -> None:
        self._occurrence(
            due_at,
            catchup=True,
            missed=True,
            reason=MissedReason.SCHEDULER_DOWN,
            missed_count=others,
        )

    def _catch_up_latest(self, first: datetime, newest: datetime) -> None:
        others = self._count(first - _TINY, newest - _TINY)
        if others:
            before = self.timing.previous_at_or_before(newest - _TINY)
            self._range(first, before or first, RunState.MISSED, MissedReason.POLICY)
        self._caught_up(newest, others)

    def _catch_up_earliest(self, first: datetime, newest: datetime) -> None:
        others = self._count(first, newest)
        self._caught_up(first, others)
        second = self.timing.next_after(first)
        if others and second is not None:
            self._range(second, newest, RunState.MISSED, MissedReason.POLICY)

    def _catch_up_none(self, first: datetime, newest: datetime) -> None:
        self._range(first, newest, RunState.MISSED, MissedReason.SCHEDULER_DOWN)

    def _catch_up_all(self, first: datetime, newest: datetime) -> None:
        window = timedelta(seconds=self.definition.catchup_window_seconds)
        opens = self.now - window
        start = first
        if first < opens:
            inside = self.timing.next_after(opens - _TINY)
            outside = self.timing.previous_at_or_before(min(opens - _TINY, newest))
            self._range(
                first, outside or first, RunState.MISSED, MissedReason.OUTSIDE_WINDOW
            )
            if inside is None or inside > newest:
                return
            start = inside
        left = self.definition.catchup_limit
        for due_at in self.timing.between(start - _TINY, newest):
            if self._is_used_up():
                self.beyond = due_at
                return
            if not left:
                self._range(due_at, newest, RunState.MISSED, MissedReason.CAP)
                return
            self._caught_up(due_at)
            left -= 1

    # -- where the schedule stands afterwards ---------------------------------

    def _standing_at(self, decided: datetime | None, *, fresh: bool = False) -> Plan:
        if fresh:
            following = first_due_at(self.schedule, self.now)
        elif decided is not None and decided != self.schedule.last_due_at:
            following = self._following(decided)
        else:
            following = self.schedule.next_due_at
        if self._is_used_up():
            following = None
        return Plan(
            runs=tuple(self.rows),
            superseded=tuple(self.superseded),
            cancelled=tuple(self.cancelled),
            next_due_at=following,
            miss_after_at=None if following is None else self._miss_after(following),
            last_due_at=decided,
            runs_made=self.made,
            finished=following is None,
        )


_TINY = timedelta(microseconds=1)
_NEVER = datetime.max.replace(tzinfo=UTC)


def _skipped(row: PlannedRun) -> PlannedRun:
    return replace(row, state=RunState.SKIPPED, reason=SkippedReason.OVERLAP)
