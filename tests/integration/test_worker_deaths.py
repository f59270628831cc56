"""What becomes of runs when workers, connections and the database go away."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from rabbit import Rabbit
from sqlalchemy import select
from worker_site import Site

from flask_metronome.database import Database
from flask_metronome.models import workers
from flask_metronome.spool import Spool


@pytest.fixture
def site(rabbitmq: Rabbit, tmp_path: Path) -> Iterator[Site]:
    """A vhost and an SQLite file; no worker yet."""
    vhost = f"test-{uuid.uuid4().hex}"
    url = f"sqlite:///{tmp_path / 'metronome.sqlite'}"
    made = Site(
        broker_url=rabbitmq.add_vhost(vhost),
        database=Database(url),
        database_url=url,
        folder=tmp_path,
    )
    try:
        yield made
    finally:
        made.stop()
        rabbitmq.delete_vhost(vhost)


@contextmanager
def locked(site: Site) -> Iterator[None]:
    """Nobody else can write to the database."""
    connection = sqlite3.connect(site.folder / "metronome.sqlite", isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.rollback()
        connection.close()


def states(site: Site, run_id: str) -> list[str]:
    return [attempt.state for attempt in site.attempts(run_id)]


def worker_rows(site: Site) -> list[Any]:
    with site.database.read() as c:
        return list(c.execute(select(workers).order_by(workers.c.started_at)))


def test_a_killed_worker(site: Site) -> None:
    """SIGKILL in mid-body: found at the redelivery, and handled by ``on_lost``."""
    first = site.start_worker()
    fails = site.send("t.wait", "never")
    reruns = site.send("t.wait", "after", on_lost="rerun")
    site.reaches(fails, "started")
    site.reaches(reruns, "started")
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    site.set_flag("after")
    site.start_worker()
    assert (site.ended(fails).state, states(site, fails)) == ("lost", ["lost"])
    assert site.ended(reruns).state == "succeeded"
    assert states(site, reruns) == ["lost", "succeeded"]
    assert (len(site.bodies(fails)), len(site.bodies(reruns))) == (1, 2)
    assert site.run(reruns).retries == 0
    assert site.result(reruns).get(timeout=60) == "waited"
    assert site.result(fails).state == "FAILURE"


def test_a_broken_connection_does_not_run_a_body_twice(
    site: Site, rabbitmq: Rabbit
) -> None:
    site.start_worker("-c", "2")
    run_id = site.send("t.wait", "connection")
    site.reaches(run_id, "started")
    vhost = site.broker_url.rpartition("/")[2]
    rabbitmq.ctl("close_all_connections", "--vhost", vhost, "test")
    site.until(lambda: site.run(run_id).duplicates > 0, "the redelivery")
    site.set_flag("connection")
    assert site.ended(run_id).state == "succeeded"
    assert (states(site, run_id), len(site.bodies(run_id))) == (["succeeded"], 1)


def test_cold_shutdown_is_no_retry(site: Site) -> None:
    first = site.start_worker(METRONOME_TEST_SOFT_SHUTDOWN="0")
    run_id = site.send("t.wait", "cold", on_lost="rerun")
    site.reaches(run_id, "started")
    os.kill(first.pid, signal.SIGQUIT)
    first.wait(60)
    site.set_flag("cold")
    site.start_worker()
    run = site.ended(run_id)
    assert (run.state, run.retries) == ("succeeded", 0)
    assert states(site, run_id) == ["lost", "succeeded"]
    assert site.attempts(run_id)[0].lost_cause == "cold_shutdown"


def test_cold_shutdown_cuts_no_thread_off(site: Site) -> None:
    """Its body goes on; Celery says it was cancelled, and ends by an error."""
    worker = site.start_worker("-P", "threads", METRONOME_TEST_SOFT_SHUTDOWN="0")
    run_id = site.send("t.wait", "thread", on_lost="rerun")
    site.until(lambda: len(site.bodies(run_id)) == 1, "the body")
    os.kill(worker.pid, signal.SIGQUIT)
    site.until(lambda: "cannot be cut off" in site.last_words(), "the shutdown")
    site.set_flag("thread")
    run = site.ended(run_id)
    assert (run.state, run.attempts, run.retries) == ("succeeded", 1, 0)
    assert (states(site, run_id), len(site.bodies(run_id))) == (["succeeded"], 1)
    worker.wait(60)
    assert "Unrecoverable" not in site.last_words()


def test_a_clean_stop_says_goodbye(site: Site) -> None:
    worker = site.start_worker("-c", "1")
    [row] = worker_rows(site)
    assert (row.pid, row.lanes, row.stopped_at) == (worker.pid, ["default"], None)
    run_id = site.send("t.wait", "bye")
    site.reaches(run_id, "started")
    site.until(lambda: worker_rows(site)[0].active == [run_id], "the lease")
    worker.terminate()
    site.set_flag("bye")
    worker.wait(60)
    [row] = worker_rows(site)
    assert row.stopped_at is not None
    assert row.active == []
    assert site.run(run_id).state == "succeeded"


def test_while_the_database_is_away(site: Site) -> None:
    """Ends go to the spool at once; claims wait, then hand the message back."""
    site.start_worker(METRONOME_DATABASE_TIMEOUT_SECONDS="0.3")
    began = time.monotonic()
    running = site.send("t.wait", "away")
    site.reaches(running, "started")
    plain = site.celery.send_task("t.wait", ("away",))
    site.until(lambda: plain.state == "STARTED", "the other")
    spool = Spool(site.folder / "data" / "spool")
    with locked(site):
        site.set_flag("away")
        site.until(lambda: len(spool.waiting()) == 2, "two spooled records")
        ended = time.monotonic()
        late = str(uuid.uuid4())
        site.publish(late, "t.succeed")
        time.sleep(4.5)  # longer than METRONOME_CLAIM_WAIT_SECONDS
    # its message came before its row: to a worker that is no such run
    run = site.ended(running)
    assert (run.state, states(site, running)) == ("succeeded", ["succeeded"])
    # what it waited for the database is not its body's time
    assert run.runtime_seconds < ended - began
    assert plain.get(timeout=60) == "waited"
    site.until(lambda: not spool.is_waiting(), "an empty spool")
    assert site.bodies(late) == []
    after = site.ended(site.send("t.succeed"))
    assert after.state == "succeeded"


def test_an_end_outlives_the_worker_that_spooled_it(site: Site) -> None:
    first = site.start_worker(METRONOME_DATABASE_TIMEOUT_SECONDS="0.3")
    run_id = site.send("t.wait", "outlives")
    site.until(lambda: len(site.bodies(run_id)) == 1, "the body")
    spool = Spool(site.folder / "data" / "spool")
    with locked(site):
        site.set_flag("outlives")
        site.until(lambda: len(spool.waiting()) == 1, "the spooled record")
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()
    site.start_worker()
    run = site.ended(run_id)
    assert (run.state, states(site, run_id)) == ("succeeded", ["succeeded"])
    assert len(site.bodies(run_id)) == 1
    assert site.result(run_id).get(timeout=60) == "waited"


def test_a_claim_waits_for_the_database(site: Site) -> None:
    site.start_worker(METRONOME_DATABASE_TIMEOUT_SECONDS="0.3")
    run_id = site.add_run("t.succeed")
    with locked(site):
        site.publish(run_id, "t.succeed")
        time.sleep(4.5)
        assert site.bodies(run_id) == []
    run = site.ended(run_id)
    assert (run.state, run.attempts, run.retries) == ("succeeded", 1, 0)
    assert len(site.bodies(run_id)) == 1


def test_the_thread_pool(site: Site) -> None:
    site.start_worker("-P", "threads", "-c", "3")
    good = site.send("t.succeed", 1)
    flaky = site.send("t.flaky", 1)
    bad = site.send("t.fail")
    silent = site.send("t.silent")
    ignored = site.send("t.ignore")
    assert site.ended(good).state == "succeeded"
    assert (site.ended(flaky).state, site.run(flaky).retries) == ("succeeded", 1)
    assert states(site, flaky) == ["retried", "succeeded"]
    assert site.ended(bad).state == "failed"
    assert site.ended(silent).state == "succeeded"
    assert site.ended(ignored).reason == "ignored"
    assert site.result(good).get(timeout=60)["app"] == "worker_app"


def test_a_killed_process_of_a_task_that_acknowledges_early(site: Site) -> None:
    site.start_worker()
    fails = site.send("t.early")
    reruns = site.send("t.early", on_lost="rerun")
    run = site.ended(fails)
    assert (run.state, run.reason) == ("lost", "child_killed")
    # its message is gone: it is planned again, for a beat to publish
    again = site.reaches(reruns, "planned")
    assert again.publish_after is not None
    assert (states(site, reruns), again.fence) == (["lost"], 1)
