"""The decision before a body runs: may this delivery start this run?

Pure. The store reads the run and its latest attempt under a lock, asks
:func:`judge`, and writes what it answers.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from flask_metronome.core.run import LIVE, UNSTARTED, AttemptState, RunState

#: A run that loses this many workers in a row is not handed to another one.
LOSSES_IN_A_ROW = 5


class Verdict(StrEnum):
    """What becomes of a delivery."""

    #: run the body
    CLAIM = "claim"
    #: another delivery of the same execution is running or has ended
    DUPLICATE = "duplicate"
    #: the run is over, and not by another delivery of it
    CLOSED = "closed"
    #: its start deadline has passed
    EXPIRED = "expired"
    #: its worker died and the schedule says not to start again
    LOST = "lost"
    #: a predecessor holds the concurrency key
    OVERLAP = "overlap"
    #: there is no such run
    UNKNOWN = "unknown"


class Previous(StrEnum):
    """What the claim does to the attempt that held the run before."""

    #: nothing: there is none, or it has ended
    KEEP = "keep"
    #: it asked for a retry whose record has not come yet
    RETRIED = "retried"
    #: it will never report
    LOST = "lost"


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivery:
    """One delivery of a run's message to a worker.

    :param retries: the message's own count; a redelivery keeps it.
    :param redelivered: the broker's flag: an earlier consumer lost it.
    :param sent_by: of a retry, the fence of the attempt that published it.
    """

    run_id: str
    task: str
    retries: int
    redelivered: bool
    worker: str
    worker_id: str | None
    pid: int
    trace_id: str | None = None
    sent_by: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class RunView:
    """Of a run, what the judgement needs."""

    state: RunState
    deadline_at: datetime | None
    on_lost: str


@dataclass(frozen=True, kw_only=True, slots=True)
class AttemptView:
    """Of the attempt that held the run last, what the judgement needs.

    :param fence: of its claim.
    :param alive: whether its process may still be running it.
    :param losses: how many attempts were lost one after the other, up to and
        including this one if it turns out to be lost.
    """

    state: AttemptState
    retries: int
    alive: bool
    losses: int
    fence: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """The verdict, and what happens to the attempt before."""

    verdict: Verdict
    previous: Previous = Previous.KEEP


def judge(
    run: RunView | None,
    previous: AttemptView | None,
    delivery: Delivery,
    now: datetime,
) -> Judgement:
    """Decide about one delivery; the same question has the same answer."""
    if run is None:
        return Judgement(verdict=Verdict.UNKNOWN)
    if run.state in UNSTARTED:
        return Judgement(verdict=_unstarted(run, now))
    if run.state not in LIVE:
        over = run.state not in (
            RunState.SUCCEEDED,
            RunState.FAILED,
            RunState.TIMED_OUT,
        )
        return Judgement(verdict=Verdict.CLOSED if over else Verdict.DUPLICATE)
    if previous is None:
        # its attempts were pruned by hand: the run's own state is all there is
        fresh = run.state is RunState.RETRYING
        return Judgement(verdict=Verdict.CLAIM if fresh else Verdict.DUPLICATE)
    if _is_overtaken(previous, delivery):
        return Judgement(verdict=Verdict.DUPLICATE)
    if previous.state is AttemptState.RUNNING:
        return _running(run, previous, delivery)
    return Judgement(verdict=_ended(run, previous, delivery))


def _is_overtaken(previous: AttemptView, delivery: Delivery) -> bool:
    """Whether it is the retry of an attempt that no longer held the run.

    Only the fence's holder counts, also when it asks for another try: a worker
    that was paused past its lease may wake and publish one.
    """
    is_next = delivery.retries > previous.retries
    return is_next and delivery.sent_by not in (None, previous.fence)


def _unstarted(run: RunView, now: datetime) -> Verdict:
    if run.state is RunState.WAITING:
        return Verdict.OVERLAP
    if run.deadline_at is not None and run.deadline_at < now:
        return Verdict.EXPIRED
    return Verdict.CLAIM


def _running(run: RunView, previous: AttemptView, delivery: Delivery) -> Judgement:
    if delivery.retries > previous.retries:
        # a retry is published before it is recorded
        return Judgement(verdict=Verdict.CLAIM, previous=Previous.RETRIED)
    if delivery.retries < previous.retries or previous.alive:
        return Judgement(verdict=Verdict.DUPLICATE)
    return Judgement(verdict=_after_loss(run, previous), previous=Previous.LOST)


def _ended(run: RunView, previous: AttemptView, delivery: Delivery) -> Verdict:
    if previous.state is AttemptState.RETRIED:
        return _expected(delivery.retries > previous.retries)
    if previous.state is AttemptState.LOST:
        if delivery.retries < previous.retries:
            return Verdict.DUPLICATE
        if delivery.retries > previous.retries and delivery.sent_by is not None:
            return Verdict.CLAIM  # it was lost when it had published its retry
        return _after_loss(run, previous)
    # handed back to the broker by the body
    return _expected(delivery.retries >= previous.retries)


def _expected(whether: bool) -> Verdict:
    return Verdict.CLAIM if whether else Verdict.DUPLICATE


def _after_loss(run: RunView, previous: AttemptView) -> Verdict:
    if run.on_lost == "rerun" and previous.losses < LOSSES_IN_A_ROW:
        return Verdict.CLAIM
    return Verdict.LOST
