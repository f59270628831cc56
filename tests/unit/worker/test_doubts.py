"""What nobody can be sure of: unconfirmed commits, inferred losses, orphans."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from billiard.exceptions import SoftTimeLimitExceeded
from sqlalchemy import Connection, event, select, update
from sqlalchemy.exc import DataError, DBAPIError, OperationalError, TimeoutError
from worker_store import DELIVERY, ELSEWHERE, RUN, Store

from flask_metronome.core.claim import Verdict
from flask_metronome.core.ending import Ending
from flask_metronome.core.run import AttemptState, RunState
from flask_metronome.database import Database, is_disconnect
from flask_metronome.identity import new_worker_id, set_worker_id
from flask_metronome.models import attempts, workers
from flask_metronome.recorder import Lease
from flask_metronome.settings import Settings
from flask_metronome.spool import Spool
from flask_metronome.store import results
from flask_metronome.store.ledger import Ledger
from flask_metronome.store.records import record_of, runs_of
from flask_metronome.store.results import Result
from flask_metronome.store.workers import heartbeat

LOST, SUCCEEDED = AttemptState.LOST, AttemptState.SUCCEEDED


class Unconfirmed(Database):
    """Loses the connection after that many commits, of which nobody hears."""

    commits = 0

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        with super().begin() as connection:
            yield connection
        if self.commits:
            self.commits -= 1
            raise OperationalError("COMMIT", {}, Exception("connection lost"))


@pytest.fixture
def ledger(store: Store, tmp_path: Path) -> Iterator[tuple[Ledger, Unconfirmed]]:
    url = f"sqlite:///{tmp_path / 'm.sqlite'}"
    database = Unconfirmed(url, clock=store.clock, timeout_seconds=0.5)
    settings = Settings(data_dir=tmp_path, database_url=url, claim_wait_seconds=0.5)
    yield Ledger(database, settings), database
    database.dispose()


def states(store: Store) -> list[str]:
    return [attempt.state for attempt in store.attempts()]


def result(status: str, said: bytes = b"1") -> Result:
    return Result(task_id=RUN, status=status, done=True, result=said)


def test_a_claim_that_nobody_confirmed_is_this_claim(
    store: Store, ledger: tuple[Ledger, Unconfirmed]
) -> None:
    """Taken for a duplicate, the run would wait for a body that never began."""
    store.add_run()
    made, database = ledger
    database.commits = 1
    claim = made.claim(DELIVERY)
    assert (claim.verdict, claim.fence, claim.delivery) == (Verdict.CLAIM, 1, 1)
    assert states(store) == ["running"]
    assert made.claim(DELIVERY).verdict is Verdict.DUPLICATE


@pytest.mark.parametrize("other", [{"pid": 1}, {"retries": 1}, {"worker_id": "w"}])
def test_another_claim_of_the_same_moment_is_another(
    store: Store, other: dict[str, Any]
) -> None:
    store.add_run()
    store.claim()
    tried = (store.clock.moment,)
    assert store.claim(tried=tried).fence == 1
    assert store.claim(tried=tried, **other).fence != 1


def test_an_end_that_nobody_confirmed_is_written_again_and_once(
    store: Store, ledger: tuple[Ledger, Unconfirmed]
) -> None:
    store.add_run()
    store.claim()
    made, database = ledger
    database.commits = 1
    ending = Ending(run_id=RUN, retries=0, state=SUCCEEDED, fence=1)
    assert made.write(ending=ending, result=result("SUCCESS"))
    assert made.spool.is_waiting()
    assert made.replay() == 1
    assert (store.run().state, states(store)) == ("succeeded", ["succeeded"])


def test_an_end_told_after_its_process_was_given_up_counts(store: Store) -> None:
    store.add_run()
    store.claim()
    assert store.finish(None, LOST, worker_id=ELSEWHERE, comes_back=True)
    assert store.finish(1, SUCCEEDED)
    assert (store.run().state, states(store)) == ("succeeded", ["succeeded"])
    assert store.claim(redelivered=True).verdict is Verdict.DUPLICATE


def test_a_loss_that_is_in_the_sums_stays(store: Store) -> None:
    store.add_run()
    store.claim()
    store.finish(None, LOST, worker_id=ELSEWHERE, comes_back=True)
    with store.database.begin() as c:
        c.execute(update(attempts).values(counted=True))
    assert not store.finish(1, SUCCEEDED)
    assert (store.run().state, states(store)) == ("started", ["lost"])
    assert store.claim(redelivered=True).verdict is Verdict.LOST


@pytest.mark.parametrize(
    ("pid", "ends"), [("its own", True), (999_999, False), (None, False)]
)
def test_a_killed_process_ends_no_other_processs_attempt(
    store: Store, pid: int | str | None, ends: bool
) -> None:
    """A second delivery of the run was in the process that died."""
    pid = os.getpid() if pid == "its own" else pid
    store.add_run()
    store.claim(pid=os.getpid())
    assert store.finish(None, LOST, worker_id=ELSEWHERE, pid=pid) is ends
    assert states(store) == ["lost" if ends else "running"]


def test_a_body_whose_worker_was_killed_goes_on(store: Store) -> None:
    mine = new_worker_id()
    store.add_run(on_lost="rerun")
    store.add_worker(mine, pid=999_999)
    store.claim(worker_id=mine, pid=os.getpid())
    second = {"redelivered": True, "worker_id": ELSEWHERE}
    assert store.claim(**second).verdict is Verdict.DUPLICATE
    store.clock.tick(91)
    assert store.claim(**second).fence == 2


def test_a_worker_younger_than_its_first_lease_lives(store: Store) -> None:
    store.add_run()
    store.claim()
    second = {"redelivered": True, "worker_id": "another"}
    assert store.claim(**second).verdict is Verdict.DUPLICATE
    store.clock.tick(91)
    assert store.claim(**second).verdict is Verdict.LOST


def test_what_is_spooled_is_written_before_a_redelivery_is_judged(
    store: Store, ledger: tuple[Ledger, Unconfirmed]
) -> None:
    """Its process is gone, but it had told its end."""
    made, _ = ledger
    mine = new_worker_id()
    store.add_run()
    store.add_worker(mine, pid=999_999)
    store.claim(worker_id=mine)
    ending = Ending(run_id=RUN, retries=0, state=SUCCEEDED, fence=1)
    made.spool.append(record_of(ending=ending))
    assert [runs_of(record) for record in made.spooled()] == [{RUN}]
    again = made.claim(replace(DELIVERY, redelivered=True))
    assert again.verdict is Verdict.DUPLICATE
    assert (store.run().state, made.spooled()) == ("succeeded", [])


def test_a_worker_says_how_many_records_wait_and_executes_what_ended(
    store: Store, ledger: tuple[Ledger, Unconfirmed]
) -> None:
    """What ended and could not be told yet is not lost."""
    made, _ = ledger
    for run in (RUN, "another"):
        ending = Ending(run_id=run, retries=0, state=SUCCEEDED, fence=1)
        made.spool.append(record_of(ending=ending))
    state: Any = SimpleNamespace(topology=SimpleNamespace(lanes=()))
    lease = Lease(state, made, SimpleNamespace(hostname="celery@one"))
    words = replace(lease._words(), id=ELSEWHERE)
    assert (words.spooled, set(words.active)) == (2, {RUN, "another"})
    with store.database.begin() as c:
        for each in (words, replace(words, spooled=1)):
            heartbeat(c, each, now=store.database.now(c))
        assert c.execute(select(workers.c.spooled)).scalar() == 1


class Fussy(Database):
    """Refuses what a server refuses: a value it cannot hold, or one too large."""

    refusal: type[DBAPIError] = DataError

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        with super().begin() as connection:
            event.listen(connection, "before_cursor_execute", self._look)
            yield connection

    def _look(self, _c: Any, _cursor: Any, sql: str, values: Any, *_: Any) -> None:
        if any("refused" in str(value) for value in values):
            raise self.refusal(sql, values, Exception("I will not have it"))


@pytest.mark.parametrize("refusal", [DataError, OperationalError])
def test_what_the_database_refuses_still_ends_the_run(
    store: Store, tmp_path: Path, refusal: type[DBAPIError]
) -> None:
    """A refusal may look like a lost connection: it must not block the spool."""
    url = f"sqlite:///{tmp_path / 'm.sqlite'}"
    database = Fussy(url, clock=store.clock)
    database.refusal = refusal
    made = Ledger(database, Settings(data_dir=tmp_path, database_url=url))
    store.add_run()
    store.claim()
    ending = Ending(
        run_id=RUN, retries=0, state=AttemptState.FAILED, fence=1, error="refused"
    )
    made.write(ending=ending, result=result("FAILURE", b"refused"))
    for _ in range(12):
        made.replay()
    assert not made.spool.is_waiting()
    assert (store.run().state, states(store)) == ("failed", ["failed"])
    assert store.run().error == "What it said could not be stored."
    with store.database.read() as c:
        row = results.find(c, RUN)
    assert row is not None
    assert (row.status, row.result) == ("FAILURE", None)
    assert made.take_dropped() == 1
    database.dispose()


def test_a_pool_of_connections_that_is_used_up_is_a_database_away() -> None:
    assert is_disconnect(TimeoutError("QueuePool limit of size 4 overflow 4 reached"))


@pytest.mark.parametrize("told", [False, True])
def test_the_retry_of_an_overtaken_attempt_begins_nothing(
    store: Store, told: bool
) -> None:
    """A worker wakes that was paused past its lease, and asks for another try."""
    store.add_run(on_lost="rerun")
    store.add_worker(ELSEWHERE)
    store.claim()
    store.clock.tick(91)
    assert store.claim(redelivered=True, worker_id="another").fence == 2
    if told:
        store.finish(2, LOST, comes_back=True)
    late = store.claim(retries=1, sent_by=1)
    assert late.verdict is Verdict.DUPLICATE
    assert store.run().retries == 0
    own = store.claim(retries=1, sent_by=2, worker_id="third")
    assert (own.verdict, own.fence) == (Verdict.CLAIM, 3)
    assert states(store) == ["lost", "lost" if told else "retried", "running"]


def test_an_attempt_lost_after_it_published_its_retry_is_tried_again(
    store: Store,
) -> None:
    store.add_run(on_lost="fail")
    store.claim()
    store.finish(None, LOST, worker_id=ELSEWHERE, comes_back=True)
    assert store.claim(retries=1, sent_by=1).verdict is Verdict.CLAIM


def test_a_soft_limit_that_strikes_after_the_body_costs_no_outcome(
    store: Store, ledger: tuple[Ledger, Unconfirmed], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, _ = ledger
    store.add_run()
    store.claim()

    def strike(*_: Any, **__: Any) -> bool:
        raise SoftTimeLimitExceeded

    ending = Ending(run_id=RUN, retries=0, state=SUCCEEDED, fence=1)
    with monkeypatch.context() as patched:
        patched.setattr(made, "_write_once", strike)
        made.write(ending=ending, result=result("SUCCESS"))
    assert made.replay() == 1
    assert (store.run().state, made.take_dropped()) == ("succeeded", 0)
    with store.database.read() as c:
        row = results.find(c, RUN)
    assert row is not None
    assert row.result == b"1"


def test_what_not_even_the_disk_could_note_is_counted_in_the_end(
    store: Store, ledger: tuple[Ledger, Unconfirmed], tmp_path: Path
) -> None:
    made, _ = ledger
    (tmp_path / "spool").touch()  # where its folder should be
    store.add_run()
    store.add_worker(ELSEWHERE)
    store.claim()
    set_worker_id(ELSEWHERE)
    try:
        assert not made.hand_back("another", retries=0, is_gone=True)
        made.write(ending=Ending(run_id=RUN, retries=0, state=SUCCEEDED, fence=1))
    finally:
        set_worker_id(None)
    with store.database.read() as c:
        assert c.execute(select(workers.c.dropped)).scalar() == 1


def test_a_full_spool_still_keeps_how_a_task_ended(
    store: Store, ledger: tuple[Ledger, Unconfirmed], tmp_path: Path
) -> None:
    """A few results of many megabytes fill it: what comes after is no lost run."""
    made, database = ledger
    made.spool = Spool(tmp_path / "spool", limit_bytes=5_000)
    store.add_run()
    store.claim()
    ending = Ending(run_id=RUN, retries=0, state=SUCCEEDED, fence=1)
    large = replace(result("SUCCESS"), result=b"x" * 10_000)
    with database.begin():  # nobody else can write
        made.write(ending=ending, result=large)
    assert made.replay() == 1
    assert (store.run().state, made.take_dropped()) == ("succeeded", 1)
    with store.database.read() as c:
        row = results.find(c, RUN)
    assert row is not None
    assert (row.status, row.result) == ("SUCCESS", None)


def test_a_full_spool_still_keeps_what_is_short(
    store: Store, ledger: tuple[Ledger, Unconfirmed], tmp_path: Path
) -> None:
    """A message that no broker has any more, and a run that nobody has begun."""
    made, database = ledger
    made.spool = Spool(tmp_path / "spool", limit_bytes=5_000)
    for length in (500, 0):  # to the last byte
        while made.spool.append({"text": "x" * length}):
            pass
    made.take_dropped()
    store.add_run()
    store.add_run("other", origin="other")
    with database.begin():  # nobody else can write
        assert made.hand_back(RUN, retries=0, is_gone=True)
        made.close_unstarted("other", state=RunState.FAILED, reason="undecodable")
    assert made.take_dropped() == 0
    made.replay()
    assert (store.run().state, store.run("other").state) == ("planned", "failed")


@pytest.mark.parametrize(("on_lost", "state"), [("fail", "lost"), ("rerun", "planned")])
@pytest.mark.parametrize("how", ["killed", "replaced"])
def test_what_was_begun_and_is_handed_back_is_not_forgotten(
    store: Store, ledger: tuple[Ledger, Unconfirmed], how: str, on_lost: str, state: str
) -> None:
    """Its message came back to a worker without a database, and is gone now."""
    made, _ = ledger
    store.add_run(on_lost=on_lost)
    store.claim()
    if how == "killed":
        cause = {"worker_id": ELSEWHERE, "lost_cause": "child_killed"}
        store.finish(None, LOST, comes_back=True, **cause)
    else:
        store.finish(1, AttemptState.IGNORED, comes_back=True, reason="replaced")
    assert made.hand_back(RUN, retries=0, is_gone=False)
    assert made.replay() == 1
    run = store.run()
    assert (run.state, run.live_key) == (state, None)
    if state == "lost":
        why = {"killed": "child_killed", "replaced": "replacement_failed"}
        assert (run.reason, run.finished_at) == (why[how], store.clock.moment)


def test_what_is_still_at_work_is_not_handed_back(
    store: Store, ledger: tuple[Ledger, Unconfirmed]
) -> None:
    made, _ = ledger
    store.add_run()
    store.claim()
    assert made.hand_back(RUN, retries=0, is_gone=False)
    assert made.replay() == 1
    assert (store.run().state, states(store)) == ("started", ["running"])


def test_no_end_is_before_its_start_whatever_the_hosts_clock_says(
    store: Store, ledger: tuple[Ledger, Unconfirmed], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was set on by an hour while the end was waiting for the database."""
    made, _ = ledger
    store.add_run()
    store.clock.tick(5)
    store.claim()
    ending = Ending(run_id=RUN, retries=0, state=SUCCEEDED, fence=1)
    made.spool.append(record_of(ending=ending))
    hour_later = time.time() + 3600
    monkeypatch.setattr(time, "time", lambda: hour_later)
    assert made.replay() == 1
    run = store.run()
    assert (run.state, run.finished_at) == ("succeeded", run.started_at)
    assert store.attempts()[0].ended_at == run.started_at


def test_a_late_result_replaces_nothing_newer(store: Store) -> None:
    def stored(status: str, ago: float = 0.0) -> str:
        with store.database.begin() as c:
            now = store.clock.moment - timedelta(seconds=ago)
            results.store(c, result(status), now=now, late=ago > 0)
            row = results.find(c, RUN)
        assert row is not None
        return str(row.status)

    assert stored("RETRY") == "RETRY"
    assert stored("FAILURE") == "FAILURE"
    assert stored("RETRY", ago=5) == "FAILURE"
    assert stored("SUCCESS", ago=5) == "SUCCESS"
    assert stored("FAILURE") == "SUCCESS"
