"""When incidents open and close, as tables, and as laws over any history."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_metronome.core.incident import (
    FLIPS,
    Ended,
    Kind,
    Standing,
    Thresholds,
    Verdict,
    after_runs,
    flipped,
    is_bad,
    is_blocked,
    is_flapping,
    is_good,
    is_quiet,
    kind_of,
    shared_cause,
    to_group,
    with_pending,
)
from flask_metronome.core.run import BAD, FINAL, RunState

START = datetime(2026, 1, 1, 12, tzinfo=UTC)
WORDS = {
    "g": ("succeeded", None),
    "b": ("failed", None),
    "m": ("missed", "scheduler_down"),
    "s": ("skipped", "overlap"),
    "p": ("skipped", "paused"),
    "c": ("cancelled", "operator"),
}


def ended(story: str) -> list[Ended]:
    """One run a letter, a minute apart."""
    return [
        Ended(
            id=f"run-{number}",
            state=WORDS[letter][0],
            reason=WORDS[letter][1],
            due_at=START + timedelta(minutes=number),
            ended_at=START + timedelta(minutes=number, seconds=5),
        )
        for number, letter in enumerate(story)
    ]


@pytest.mark.parametrize(
    ("story", "needed", "bad"),
    [
        ("b", 1, True),
        ("", 1, False),
        ("g", 1, False),
        ("bg", 1, False),
        ("bb", 3, False),
        ("bbb", 3, True),
        ("mbm", 3, True),
        ("bgbb", 3, False),
        ("bspcb", 2, True),  # skipped and cancelled count neither way
        ("bspc", 2, False),
    ],
)
def test_opens_after_so_many_bad_in_a_row(story: str, needed: int, bad: bool) -> None:
    standing = after_runs(Standing(), ended(story))
    assert is_bad(standing, Thresholds(bad_in_a_row=needed)) is bad


@pytest.mark.parametrize(
    ("story", "needed", "good"),
    [
        ("bg", 1, True),
        ("bg", 2, False),
        ("bgg", 2, True),
        ("bgpg", 2, True),
        ("bgbg", 2, False),
        ("b", 1, False),
    ],
)
def test_closes_after_so_many_good(story: str, needed: int, good: bool) -> None:
    standing = after_runs(Standing(), ended(story))
    assert is_good(standing, Thresholds(good_to_close=needed)) is good


def test_a_span_counts_each_due_time_that_it_stands_for() -> None:
    (run,) = ended("m")
    span = Ended(
        id=run.id,
        state=run.state,
        reason=run.reason,
        due_at=run.due_at,
        ended_at=run.ended_at,
        weight=3,
    )
    assert is_bad(after_runs(Standing(), [span]), Thresholds(bad_in_a_row=3))
    assert not is_bad(after_runs(Standing(), [span]), Thresholds(bad_in_a_row=4))


def test_what_is_missed_right_now_counts_and_takes_good_runs_back() -> None:
    standing = after_runs(Standing(), ended("ggg"))
    worse = with_pending(standing, 2, START)
    assert is_bad(worse, Thresholds(bad_in_a_row=2))
    assert not is_bad(worse, Thresholds(bad_in_a_row=3))
    over = with_pending(worse, 0, START)
    # it has not run well again yet
    assert not is_good(over, Thresholds())
    assert not is_bad(over, Thresholds())


@pytest.mark.parametrize(
    ("story", "blocked"),
    [("ss", False), ("sss", True), ("sssg", False), ("sscs", True), ("ssbs", False)],
)
def test_three_blocked_in_a_row(story: str, blocked: bool) -> None:
    assert is_blocked(after_runs(Standing(), ended(story))) is blocked


def test_the_fourth_flip_within_an_hour_is_one_too_many() -> None:
    standing = Standing()
    for minute in range(FLIPS - 1):
        assert not is_flapping(standing, START + timedelta(minutes=minute))
        standing = flipped(standing, START + timedelta(minutes=minute))
    assert is_flapping(standing, START + timedelta(minutes=59, seconds=59))
    assert not is_flapping(standing, START + timedelta(minutes=60))


def test_quiet_is_an_hour_without_a_bad_run() -> None:
    standing = after_runs(Standing(), ended("b"))
    bad_at = standing.last_bad_at
    assert bad_at is not None
    assert not is_quiet(standing, bad_at + timedelta(minutes=59, seconds=59))
    assert is_quiet(standing, bad_at + timedelta(hours=1))


@pytest.mark.parametrize(
    ("state", "reason", "cause"),
    [
        (None, "scheduler_down", "scheduler_down"),
        (None, "publish_failed", "publish_failed"),
        ("missed", "unroutable", "unroutable"),
        ("missed", "policy", "scheduler_down"),
        ("expired", "expired", "lane:mail"),
        ("lost", "worker_dead", "workers_lost"),
        ("failed", None, None),
        ("timed_out", None, None),
    ],
)
def test_what_others_suffer_from_as_well(
    state: str | None, reason: str | None, cause: str | None
) -> None:
    assert shared_cause(state, reason, "mail") == cause
    missed = state in (None, "missed", "expired")
    assert kind_of(state) is (Kind.MISSED if missed else Kind.FAILED)


@pytest.mark.parametrize(
    ("opening", "lately", "there", "grouped"),
    [
        (5, 0, (), {"x"}),
        (4, 0, (), set()),
        (1, 4, (), {"x"}),
        (1, 3, (), set()),
        (1, 0, ("x",), {"x"}),
        (0, 9, ("x",), set()),
    ],
)
def test_five_of_one_cause_become_one(
    opening: int, lately: int, there: tuple[str, ...], grouped: set[str]
) -> None:
    causes: dict[int, str | None] = dict.fromkeys(range(opening), "x")
    causes[99] = None
    assert to_group(causes, {"x": lately, "y": 50}, there) == grouped


def test_every_end_has_a_verdict_and_a_retry_has_none() -> None:
    verdicts = {}
    for state in FINAL:
        (run,) = ended("g")
        verdicts[state] = Ended(
            id=run.id,
            state=state,
            reason=None,
            due_at=run.due_at,
            ended_at=run.ended_at,
        ).verdict
    assert {state for state, v in verdicts.items() if v is Verdict.BAD} == BAD
    assert verdicts[RunState.SUCCEEDED] is Verdict.GOOD
    assert RunState.RETRYING not in verdicts


stories = st.text(alphabet="".join(WORDS), max_size=12)


@given(stories, st.integers(1, 4), st.integers(1, 4))
def test_never_good_and_bad_at_once(story: str, bad: int, good: int) -> None:
    standing = after_runs(Standing(), ended(story))
    thresholds = Thresholds(bad_in_a_row=bad, good_to_close=good)
    assert not (is_bad(standing, thresholds) and is_good(standing, thresholds))


@given(stories, st.integers(0, 12))
def test_how_runs_are_cut_into_sweeps_does_not_matter(story: str, cut: int) -> None:
    found = ended(story)
    whole = after_runs(Standing(), found)
    parts = after_runs(after_runs(Standing(), found[:cut]), found[cut:])
    assert whole == parts
    assert whole == after_runs(Standing(), reversed(found))


@given(stories, st.integers(1, 4))
def test_bad_says_what_the_last_counting_runs_were(story: str, needed: int) -> None:
    counting = [letter for letter in story if letter in "gbm"]
    expected = len(counting) >= needed and set(counting[-needed:]) <= set("bm")
    standing = after_runs(Standing(), ended(story))
    assert is_bad(standing, Thresholds(bad_in_a_row=needed)) is expected
