"""What one schedule's due times become: policies as tables, laws by Hypothesis."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flask_metronome.core.cadence import Cadence, cron, every, once
from flask_metronome.core.plan import (
    MOST_PER_TICK,
    Occupancy,
    Plan,
    miss_after,
    plan,
)
from flask_metronome.core.run import RunState
from flask_metronome.core.schedule import Definition, Schedule

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def schedule(
    cadence: Cadence | None = None, *, due: datetime | None = NOON, **policies: Any
) -> Schedule:
    made = policies.pop("runs_made", 0)
    definition = Definition(
        key="k", task="t", cadence=cadence or every(10, "minutes"), **policies
    )
    return Schedule(id="s1", definition=definition, next_due_at=due, runs_made=made)


def at(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


def told(decided: Plan) -> list[tuple[str, str | None, float, int]]:
    """State, reason, due time in minutes after noon, due times it stands for."""
    return [
        (
            str(run.state),
            run.reason,
            (run.due_at - NOON).total_seconds() / 60,
            run.missed_count,
        )
        for run in decided.runs
    ]


def test_nothing_is_due_before_its_time() -> None:
    decided = plan(schedule(), NOON - timedelta(microseconds=1), Occupancy())
    assert decided.runs == ()
    assert decided.next_due_at == NOON


def test_a_due_time_becomes_one_run_and_the_schedule_moves_on() -> None:
    decided = plan(schedule(), NOON, Occupancy())
    assert told(decided) == [("planned", None, 0, 0)]
    assert decided.next_due_at == at(10)
    assert decided.last_due_at == NOON
    assert decided.miss_after_at == at(15)
    assert not decided.runs[0].missed


@pytest.mark.parametrize(
    ("late", "missed"), [(timedelta(0), False), (timedelta(microseconds=1), True)]
)
def test_a_due_time_is_missed_only_when_its_grace_is_over(
    late: timedelta, missed: bool
) -> None:
    decided = plan(schedule(), at(5) + late, Occupancy())
    assert [run.missed for run in decided.runs] == [missed]
    assert [run.catchup for run in decided.runs] == [missed]


@pytest.mark.parametrize(
    ("catchup", "expected"),
    [
        (
            "latest",
            [
                ("missed", "policy", 0, 4),
                ("planned", "scheduler_down", 40, 4),
                ("planned", None, 50, 0),
            ],
        ),
        (
            "earliest",
            [
                ("planned", "scheduler_down", 0, 4),
                ("missed", "policy", 10, 4),
                ("planned", None, 50, 0),
            ],
        ),
        (
            "all",
            [
                ("planned", "scheduler_down", 0, 0),
                ("planned", "scheduler_down", 10, 0),
                ("planned", "scheduler_down", 20, 0),
                ("missed", "cap", 30, 2),
                ("planned", None, 50, 0),
            ],
        ),
        ("none", [("missed", "scheduler_down", 0, 5), ("planned", None, 50, 0)]),
    ],
)
def test_catch_up_after_fifty_minutes_away(
    catchup: str, expected: list[tuple[str, str | None, float, int]]
) -> None:
    late = schedule(catchup=catchup, catchup_limit=3, overlap="allow")
    assert told(plan(late, at(50), Occupancy())) == expected


def test_catch_up_all_makes_each_one_after_the_other_where_overlap_is_skipped() -> None:
    late = schedule(catchup="all", catchup_limit=3, overlap="skip")
    assert told(plan(late, at(50), Occupancy())) == [
        ("planned", "scheduler_down", 0, 0),
        ("waiting", "scheduler_down", 10, 0),
        ("waiting", "scheduler_down", 20, 0),
        ("missed", "cap", 30, 2),
        ("skipped", "overlap", 50, 0),
    ]


def test_catch_up_all_leaves_out_what_lies_before_its_window() -> None:
    late = schedule(catchup="all", catchup_window_seconds=1800, overlap="allow")
    assert told(plan(late, at(59), Occupancy())) == [
        ("missed", "outside_window", 0, 3),
        ("planned", "scheduler_down", 30, 0),
        ("planned", "scheduler_down", 40, 0),
        ("planned", "scheduler_down", 50, 0),
    ]


@pytest.mark.parametrize(
    ("overlap", "states", "superseded", "cancelled"),
    [
        ("allow", ["planned", "planned", "planned"], 0, 0),
        ("skip", ["planned", "skipped", "skipped"], 0, 0),
        ("queue_one", ["planned", "waiting", "waiting"], 1, 0),
        ("queue_all", ["planned", "waiting", "waiting"], 0, 0),
        ("cancel_previous", ["planned", "planned", "planned"], 0, 2),
    ],
)
def test_overlap_of_three_due_times_at_once(
    overlap: str, states: list[str], superseded: int, cancelled: int
) -> None:
    busy = schedule(every(10, "seconds"), overlap=overlap)
    decided = plan(busy, NOON + timedelta(seconds=20), Occupancy())
    assert [str(run.state) for run in decided.runs] == states
    assert len(decided.superseded) == superseded
    assert len(decided.cancelled) == cancelled


def test_what_its_jitter_holds_back_is_not_missed_yet() -> None:
    """Beats away over the due time are back before the run was to go."""
    late = schedule(every(1, "days", anchor=NOON), catchup="none", jitter_seconds=7200)
    fires_at = late.definition.timing.fires_at("s1", NOON)
    assert fires_at > at(45)
    decided = plan(late, at(45), Occupancy())
    assert told(decided) == [("planned", None, 0, 0)]
    assert decided.miss_after_at == plan(late, NOON, Occupancy()).miss_after_at
    assert decided.miss_after_at == miss_after(late, at(24 * 60))
    ends = fires_at + timedelta(minutes=30)
    assert miss_after(late, NOON) == decided.runs[0].grace_until == ends
    assert not plan(late, ends, Occupancy()).runs[0].missed
    assert plan(late, ends + timedelta(seconds=1), Occupancy()).runs[0].missed


def test_a_predecessor_that_is_still_open_blocks() -> None:
    decided = plan(schedule(), NOON, Occupancy(active=["earlier"]))
    assert told(decided) == [("skipped", "overlap", 0, 0)]


def test_a_run_past_its_start_deadline_is_expired_and_missed() -> None:
    late = schedule(start_deadline_seconds=60)
    decided = plan(late, at(2), Occupancy())
    assert told(decided) == [("expired", "expired", 0, 0)]
    assert decided.runs[0].missed


def test_max_runs_finishes_the_schedule() -> None:
    decided = plan(schedule(max_runs=3, runs_made=2), NOON, Occupancy())
    assert decided.finished
    assert decided.next_due_at is None
    assert decided.runs_made == 3


@pytest.mark.parametrize(
    ("policies", "expected"),
    [
        (
            {"catchup": "all"},
            [
                ("planned", "scheduler_down", 0, 0),
                ("planned", "scheduler_down", 10, 0),
                ("skipped", "max_runs", 20, 4),
            ],
        ),
        (
            {"catchup": "latest"},
            [
                ("missed", "policy", 0, 4),
                ("planned", "scheduler_down", 40, 4),
                ("planned", None, 50, 0),
            ],
        ),
        (
            {"catchup": "earliest", "runs_made": 1},
            [
                ("planned", "scheduler_down", 0, 4),
                ("missed", "policy", 10, 4),
                ("skipped", "max_runs", 50, 1),
            ],
        ),
        (
            {"grace_seconds": 3600},
            [
                ("planned", None, 0, 0),
                ("planned", None, 10, 0),
                ("skipped", "max_runs", 20, 4),
            ],
        ),
    ],
)
def test_what_is_due_after_the_last_run_leaves_its_row(
    policies: dict[str, Any], expected: list[tuple[str, str | None, float, int]]
) -> None:
    """Fifty minutes away, and two runs are allowed."""
    late = schedule(max_runs=2, overlap="allow", **policies)
    decided = plan(late, at(50), Occupancy())
    assert told(decided) == expected
    assert decided.finished
    assert decided.last_due_at == at(50)


def test_the_last_due_time_is_judged_by_the_interval_before_its_end() -> None:
    ends = schedule(end_at=at(5))
    decided = plan(ends, NOON, Occupancy())
    assert decided.finished
    assert decided.runs[0].grace_until == at(5)
    assert plan(ends, at(6), Occupancy()).runs[0].missed


def test_once_is_finished_after_its_run() -> None:
    decided = plan(schedule(once(NOON)), NOON, Occupancy())
    assert told(decided) == [("planned", None, 0, 0)]
    assert decided.finished


def test_a_schedule_without_a_due_time_is_aimed_at_the_future() -> None:
    decided = plan(schedule(due=None), at(3), Occupancy())
    assert decided.runs == ()
    assert decided.next_due_at == at(10)


def test_an_uneven_cron_is_judged_by_each_due_times_own_grace() -> None:
    # 12:00 has a minute to the next due time, so a grace of 30 s; 12:01 an hour
    uneven = schedule(cron("0,1 * * * *"), overlap="allow")
    decided = plan(uneven, at(20), Occupancy())
    assert told(decided) == [
        ("planned", "scheduler_down", 0, 0),
        ("planned", None, 1, 0),
    ]


def test_one_tick_decides_a_bounded_number_of_due_times() -> None:
    fast = schedule(every(10, "milliseconds"), overlap="allow", grace_seconds=60)
    decided = plan(fast, NOON + timedelta(seconds=30), Occupancy())
    assert len(decided.runs) == MOST_PER_TICK
    assert decided.next_due_at == NOON + timedelta(milliseconds=10) * MOST_PER_TICK


def test_millions_of_missed_due_times_are_one_row() -> None:
    late = schedule(every(10, "milliseconds"), overlap="allow")
    decided = plan(late, NOON + timedelta(days=30), Occupancy())
    ranges = [run for run in decided.runs if run.state is RunState.MISSED]
    assert [run.missed_count > 250_000_000 for run in ranges] == [True]


steps = st.lists(st.integers(0, 7200), min_size=1, max_size=12)
cadences = st.sampled_from(
    [
        every(7, "seconds"),
        every(10, "minutes"),
        cron("*/5 * * * *", tz="Europe/Berlin"),
        cron("0,1 * * * *"),
        cron("30 2 * * *", tz="America/New_York"),
    ]
)


def covered(decided: Plan, cadence: Cadence) -> list[datetime]:
    moments = []
    for run in decided.runs:
        if run.missed_from is None or run.missed_to is None:
            moments.append(run.due_at)
        else:
            before = run.missed_from - timedelta(microseconds=1)
            moments += list(cadence.between(before, run.missed_to))
    return moments


@settings(max_examples=120, deadline=None)
@given(
    cadence=cadences,
    waits=steps,
    catchup=st.sampled_from(["latest", "earliest", "all", "none"]),
    overlap=st.sampled_from(["skip", "allow", "queue_one", "queue_all"]),
)
def test_every_due_time_is_decided_exactly_once_and_never_early(
    cadence: Cadence, waits: list[int], catchup: str, overlap: str
) -> None:
    first = cadence.next_after(NOON)
    assert first is not None
    now, standing = NOON, schedule(cadence, due=first, catchup=catchup, overlap=overlap)
    seen: list[datetime] = []
    occupancy = Occupancy()
    for wait in waits:
        now += timedelta(seconds=wait)
        decided = plan(standing, now, occupancy)
        moments = covered(decided, cadence)
        assert all(moment <= now for moment in moments)
        seen += moments
        standing = Schedule(
            id="s1",
            definition=standing.definition,
            next_due_at=decided.next_due_at,
            last_due_at=decided.last_due_at,
        )
    assert standing.next_due_at is not None
    until = standing.next_due_at - timedelta(microseconds=1)
    assert sorted(seen) == list(cadence.between(NOON, until))


@settings(max_examples=60, deadline=None)
@given(
    cadence=cadences,
    wait=st.integers(0, 100_000),
    catchup=st.sampled_from(["latest", "earliest", "all", "none"]),
)
def test_planning_the_same_thing_twice_gives_the_same_rows(
    cadence: Cadence, wait: int, catchup: str
) -> None:
    standing = schedule(cadence, due=cadence.next_after(NOON), catchup=catchup)
    now = NOON + timedelta(seconds=wait)
    assert plan(standing, now, Occupancy()) == plan(standing, now, Occupancy())
