"""The claim of a run before its body, and the end of its attempt."""

from __future__ import annotations

from datetime import timedelta

import pytest
from worker_store import ELSEWHERE, RUN, Store

from flask_metronome.core.claim import LOSSES_IN_A_ROW, Verdict
from flask_metronome.core.ending import LostCause
from flask_metronome.core.run import AttemptState, RunState
from flask_metronome.identity import new_worker_id
from flask_metronome.store import claims, ends, outbox, sweeps, workers


def test_a_claim_starts_the_run_and_opens_an_attempt(store: Store) -> None:
    store.add_run()
    store.clock.tick(5)
    made = store.claim(trace_id="a" * 32)
    assert (made.verdict, made.fence, made.delivery) == (Verdict.CLAIM, 1, 1)
    run, [attempt] = store.run(), store.attempts()
    assert (run.state, run.fence, run.attempts) == ("started", 1, 1)
    assert run.started_at == store.clock.moment
    assert run.worker == "celery@one"
    assert not run.late
    assert (attempt.state, attempt.fence, attempt.pid) == ("running", 1, 999_999)
    assert attempt.trace_id == "a" * 32


@pytest.mark.parametrize(("seconds", "late"), [(15, False), (15.001, True)])
def test_late_is_judged_at_the_first_start(
    store: Store, seconds: float, late: bool
) -> None:
    store.add_run()
    store.clock.tick(seconds)
    store.claim()
    assert store.run().late is late


@pytest.mark.parametrize("state", ["planned", "published", "received"])
def test_a_run_can_be_claimed_before_its_publish_is_recorded(
    store: Store, state: str
) -> None:
    store.add_run(state=state)
    assert store.claim().verdict is Verdict.CLAIM


def test_a_second_copy_of_the_message_does_not_run(store: Store) -> None:
    store.add_run()
    store.add_worker(ELSEWHERE)
    store.claim()
    assert store.claim().verdict is Verdict.DUPLICATE
    # redelivered, but the worker that has it is alive: its connection broke
    assert store.claim(redelivered=True).verdict is Verdict.DUPLICATE
    store.finish(1, AttemptState.SUCCEEDED)
    assert store.claim(redelivered=True).verdict is Verdict.DUPLICATE
    assert (store.run().duplicates, len(store.attempts())) == (3, 1)
    assert store.run().state == "succeeded"


def test_a_cancelled_run_does_not_run(store: Store) -> None:
    store.add_run(state=RunState.CANCELLED)
    assert store.claim().verdict is Verdict.CLOSED
    assert (store.run().state, store.run().duplicates) == ("cancelled", 0)


def test_no_such_run(store: Store) -> None:
    assert store.claim().verdict is Verdict.UNKNOWN


def test_after_the_start_deadline_the_run_expires_as_missed(store: Store) -> None:
    deadline = store.clock.moment + timedelta(seconds=10)
    store.add_run(deadline_at=deadline)
    store.clock.tick(10.001)
    assert store.claim().verdict is Verdict.EXPIRED
    run = store.run()
    assert (run.state, run.missed, run.reason) == ("expired", True, "expired")
    assert run.finished_at == store.clock.moment


def test_at_the_start_deadline_the_run_starts(store: Store) -> None:
    store.add_run(deadline_at=store.clock.moment + timedelta(seconds=10))
    store.clock.tick(10)
    assert store.claim().verdict is Verdict.CLAIM


def test_a_run_that_has_begun_may_be_begun_again_after_its_deadline(
    store: Store,
) -> None:
    """A start deadline is for the start: neither a claim nor the outbox expires it."""
    deadline = store.clock.moment + timedelta(seconds=10)
    store.add_run(deadline_at=deadline, on_lost="rerun", publish_after=deadline)
    store.finish(store.claim().fence, AttemptState.LOST)
    store.clock.tick(11)
    now = store.clock.moment
    with store.database.begin() as c:
        [row] = outbox.claim(c, now=now, owner="b", lease_seconds=15.0, limit=9)
        assert sweeps.expire(c, batch=9, now=now) == 0
    assert (store.run().state, row.deadline_at) == ("planned", None)
    assert store.claim().verdict is Verdict.CLAIM


@pytest.mark.parametrize(
    ("state", "run_state"),
    [
        (AttemptState.SUCCEEDED, "succeeded"),
        (AttemptState.FAILED, "failed"),
        (AttemptState.TIMED_OUT, "timed_out"),
        (AttemptState.IGNORED, "cancelled"),
        (AttemptState.CANCELLED, "cancelled"),
        (AttemptState.REJECTED, "failed"),
        (AttemptState.LOST, "lost"),
    ],
)
def test_an_ending_closes_attempt_and_run(
    store: Store, state: AttemptState, run_state: str
) -> None:
    store.add_run(exclusive=True)
    fence = store.claim().fence
    assert store.run().live_key == "s"
    store.clock.tick(7)
    assert store.finish(fence, state, error="why", error_type="E")
    run, [attempt] = store.run(), store.attempts()
    assert (run.state, run.runtime_seconds, run.error) == (run_state, 7.0, "why")
    assert run.finished_at == attempt.ended_at == store.clock.moment
    assert run.live_key is None
    assert (attempt.state, attempt.runtime_seconds) == (state, 7.0)
    # again, and otherwise: nothing changes
    store.clock.tick(1)
    assert not store.finish(fence, AttemptState.SUCCEEDED)
    assert (store.run().state, store.attempts()[0].state) == (run_state, state)


def test_a_retry_is_counted_once_and_keeps_the_key(store: Store) -> None:
    store.add_run(exclusive=True)
    store.add_worker(ELSEWHERE)
    fence = store.claim().fence
    store.finish(fence, AttemptState.RETRIED, retry_after_seconds=20.0)
    run = store.run()
    assert (run.state, run.retries, run.live_key) == ("retrying", 1, "s")
    assert run.retry_at == store.clock.moment + timedelta(seconds=20)
    assert store.claim(retries=0, redelivered=True).verdict is Verdict.DUPLICATE
    second = store.claim(retries=1)
    assert (second.verdict, second.fence) == (Verdict.CLAIM, 2)
    store.finish(2, AttemptState.SUCCEEDED, retries=1)
    run = store.run()
    assert (run.state, run.retries, run.attempts) == ("succeeded", 1, 2)
    assert [a.state for a in store.attempts()] == ["retried", "succeeded"]


def test_a_retry_may_arrive_before_it_is_recorded(store: Store) -> None:
    store.add_run()
    store.add_worker(ELSEWHERE)
    store.claim()
    assert store.claim(retries=1).verdict is Verdict.CLAIM
    late = store.finish(1, AttemptState.RETRIED, error="boom", error_type="Boom")
    assert not late
    run, [first, second] = store.run(), store.attempts()
    assert (run.state, run.retries, run.fence) == ("started", 1, 2)
    assert (first.state, first.error, second.state) == ("retried", "boom", "running")
    assert second.retries == 1


@pytest.mark.parametrize("on_lost", ["fail", "rerun"])
def test_a_dead_workers_run_goes_by_on_lost(store: Store, on_lost: str) -> None:
    store.add_run(on_lost=on_lost)
    store.add_worker(ELSEWHERE)
    store.claim()
    store.clock.tick(91)
    again = store.claim(redelivered=True, worker="celery@two")
    first = store.attempts()[0]
    assert (first.state, first.lost_cause) == ("lost", "superseded")
    if on_lost == "fail":
        assert again.verdict is Verdict.LOST
        assert (store.run().state, len(store.attempts())) == ("lost", 1)
    else:
        assert (again.verdict, again.fence, again.delivery) == (Verdict.CLAIM, 2, 2)
        assert (store.run().state, store.run().retries) == ("started", 0)
        # the zombie wakes: its end does not count
        assert not store.finish(1, AttemptState.SUCCEEDED)
        assert store.run().state == "started"


def test_a_worker_that_said_goodbye_is_gone_at_once(store: Store) -> None:
    store.add_run()
    store.add_worker(ELSEWHERE)
    store.claim()
    with store.database.begin() as c:
        workers.stop(c, ELSEWHERE, now=store.clock.moment)
    assert store.claim(redelivered=True).verdict is Verdict.LOST


def test_a_killed_process_of_this_machine_is_gone_at_once(store: Store) -> None:
    mine = new_worker_id()
    store.add_run()
    store.add_worker(mine, pid=999_999)
    store.claim(worker_id=mine)
    assert store.claim(redelivered=True, worker_id=mine).verdict is Verdict.LOST


def test_a_run_that_kills_every_worker_is_not_run_for_ever(store: Store) -> None:
    store.add_run(on_lost="rerun")
    for _ in range(LOSSES_IN_A_ROW):
        assert store.claim(redelivered=True, worker_id=None).verdict is Verdict.CLAIM
    assert store.claim(redelivered=True, worker_id=None).verdict is Verdict.LOST
    assert len(store.attempts()) == LOSSES_IN_A_ROW


def test_the_worker_reports_its_lost_child_without_a_fence(store: Store) -> None:
    store.add_run(on_lost="rerun")
    store.claim()
    lost = {"lost_cause": LostCause.CHILD_KILLED, "worker_id": ELSEWHERE}
    assert not store.finish(None, AttemptState.LOST, worker_id="another")
    assert store.finish(None, AttemptState.LOST, **lost)
    run, [attempt] = store.run(), store.attempts()
    assert (run.state, run.publish_after) == ("planned", store.clock.moment)
    assert (attempt.state, attempt.lost_cause) == ("lost", "child_killed")
    assert store.claim().fence == 2


def test_a_lost_attempt_whose_message_comes_back_is_decided_then(store: Store) -> None:
    store.add_run(on_lost="rerun")
    fence = store.claim().fence
    store.finish(fence, AttemptState.LOST, comes_back=True)
    assert store.run().state == "started"
    assert store.claim(redelivered=True).fence == 2


def test_a_message_handed_back_is_run_again_and_is_no_retry(store: Store) -> None:
    store.add_run()
    fence = store.claim().fence
    store.finish(fence, AttemptState.REJECTED, comes_back=True)
    assert store.claim(redelivered=True).verdict is Verdict.CLAIM
    assert store.run().retries == 0


@pytest.mark.parametrize(
    ("policy", "state"),
    [("skip", "skipped"), ("queue_one", "waiting"), ("queue_all", "waiting")],
)
def test_only_one_run_holds_a_concurrency_key(
    store: Store, policy: str, state: str
) -> None:
    store.add_run(exclusive=True)
    later = store.clock.tick(60)
    options = {"overlap": policy}
    store.add_run("run-2", exclusive=True, due_at=later, options=options)
    store.claim()
    assert store.claim(run_id="run-2").verdict is Verdict.OVERLAP
    blocked = store.run("run-2")
    assert (blocked.state, blocked.missed, blocked.live_key) == (state, False, None)
    assert blocked.reason == ("overlap" if state == "skipped" else None)
    store.finish(1, AttemptState.SUCCEEDED)
    store.add_run("run-3", exclusive=True, due_at=store.clock.tick(60))
    assert store.claim(run_id="run-3").verdict is Verdict.CLAIM


def test_runs_that_may_overlap_do(store: Store) -> None:
    store.add_run()
    store.add_run("run-2", due_at=store.clock.tick(60))
    store.claim()
    assert store.claim(run_id="run-2").verdict is Verdict.CLAIM


def test_a_cancelled_runs_body_ends_without_reviving_it(store: Store) -> None:
    store.add_run()
    fence = store.claim().fence
    store.set_state(RunState.CANCELLED)
    assert not store.finish(fence, AttemptState.SUCCEEDED)
    assert (store.run().state, store.attempts()[0].state) == ("cancelled", "succeeded")


def test_received_only_moves_forward(store: Store) -> None:
    store.add_run()
    received = store.clock.moment
    with store.database.begin() as c:
        claims.receive(c, [RUN], now=received)
    assert (store.run().state, store.run().received_at) == ("received", received)
    store.claim()
    with store.database.begin() as c:
        claims.receive(c, [RUN], now=store.clock.tick(1))
    assert (store.run().state, store.run().received_at) == ("started", received)


@pytest.mark.parametrize(
    ("before", "after", "missed"),
    [
        (RunState.RECEIVED, "expired", True),
        (RunState.RETRYING, "failed", False),
        (RunState.STARTED, "started", False),
        (RunState.SUCCEEDED, "succeeded", False),
    ],
)
def test_an_expired_message_ends_what_has_not_begun(
    store: Store, before: RunState, after: str, missed: bool
) -> None:
    store.add_run(state=before)
    with store.database.begin() as c:
        ends.close_unstarted(
            c, RUN, state=RunState.EXPIRED, reason="expired", now=store.clock.moment
        )
    assert (store.run().state, store.run().missed) == (after, missed)
