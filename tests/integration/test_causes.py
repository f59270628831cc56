"""The causes that no other test covers, one by one; the table is in ``causes.py``."""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from rabbit import Rabbit
from worker_site import Site

from flask_metronome.database import Database
from flask_metronome.monitor import Monitor
from flask_metronome.state import state_of


def made_site(rabbitmq: Rabbit, folder: Path) -> Iterator[Site]:
    vhost = f"test-{uuid.uuid4().hex}"
    url = f"sqlite:///{folder / 'metronome.sqlite'}"
    made = Site(
        broker_url=rabbitmq.add_vhost(vhost),
        database=Database(url),
        database_url=url,
        folder=folder,
    )
    try:
        yield made
    finally:
        made.stop()
        rabbitmq.delete_vhost(vhost)


@pytest.fixture(scope="module", params=["prefork", "threads"])
def busy(
    rabbitmq: Rabbit,
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Site]:
    """A worker that does one thing at a time, and survives every test."""
    for made in made_site(rabbitmq, tmp_path_factory.mktemp(request.param)):
        made.start_worker("-P", request.param, "-c", "1")
        yield made


@pytest.fixture
def site(rabbitmq: Rabbit, tmp_path: Path) -> Iterator[Site]:
    """No worker yet."""
    yield from made_site(rabbitmq, tmp_path)


def states(site: Site, run_id: str) -> list[str]:
    return [attempt.state for attempt in site.attempts(run_id)]


def test_a_retry_that_cannot_be_published(busy: Site) -> None:
    run = busy.ended(busy.send("t.retry_nowhere"))
    assert (run.state, run.reason, run.retries) == ("failed", "retry_publish_failed", 0)
    assert states(busy, run.id) == ["rejected"]
    assert "nowhere" in run.error
    assert busy.result(run.id).state == "FAILURE"


def test_a_result_that_cannot_be_serialized(busy: Site) -> None:
    run = busy.ended(busy.send("t.odd"))
    assert (run.state, states(busy, run.id)) == ("failed", ["failed"])
    assert "EncodeError" in run.error_type


def test_revoked_before_it_began(busy: Site) -> None:
    first = busy.send("t.wait", "revoked")
    busy.reaches(first, "started")
    second = busy.send("t.succeed")
    busy.celery.control.revoke(second, reply=True, timeout=3)
    busy.set_flag("revoked")
    run = busy.ended(second)
    assert (run.state, run.reason, run.missed) == ("cancelled", "revoked", False)
    assert states(busy, second) == []
    assert busy.result(second).state == "REVOKED"
    assert busy.ended(first).state == "succeeded"


def test_revoked_while_it_was_delayed(busy: Site) -> None:
    run_id = busy.add_run("t.succeed")
    busy.publish(run_id, "t.succeed", countdown=1)
    busy.celery.control.revoke(run_id, reply=True, timeout=3)
    assert busy.ended(run_id).reason == "revoked"
    assert busy.bodies(run_id) == []


@pytest.mark.parametrize(
    ("task", "reason"),
    [("t.reject", "rejected"), ("t.ignore", "ignored"), ("t.unheard_of", None)],
)
def test_told_apart_by_every_pool(busy: Site, task: str, reason: str | None) -> None:
    assert busy.ended(busy.send(task)).reason == (reason or "unregistered")


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_killed_worker_of_acknowledged_tasks(site: Site, pool: str) -> None:
    """Nobody tells of it, ever: it is found by the worker's lease."""
    worker = site.start_worker("-P", pool, "-c", "2")
    fails = site.send("t.wait_early", "never")
    reruns = site.send("t.wait_early", "never", on_lost="rerun")
    site.reaches(fails, "started")
    site.reaches(reruns, "started")
    os.killpg(worker.pid, signal.SIGKILL)
    worker.wait()
    state = state_of(site.celery)
    monitor = Monitor(site.database, state.settings)
    site.until(
        lambda: (
            bool(monitor.sweep())
            and "started" not in (site.run(fails).state, site.run(reruns).state)
        ),
        "the lease to run out, of both: the start of an attempt renews it",
    )
    assert (site.run(fails).state, states(site, fails)) == ("lost", ["lost"])
    assert site.attempts(fails)[0].lost_cause == "worker_dead"
    assert site.run(fails).reason == "worker_dead"
    assert "no sign of life" in site.run(fails).error
    # a beat publishes it again
    assert (site.run(reruns).state, states(site, reruns)) == ("planned", ["lost"])
    assert site.run(reruns).publish_after is not None
    assert (site.result(fails).state, site.result(reruns).state) == (
        "FAILURE",
        "PENDING",
    )


def close_connections(site: Site, rabbitmq: Rabbit) -> None:
    rabbitmq.ctl(
        *("close_all_connections", "--vhost"),
        *(site.broker_url.rpartition("/")[2], "test"),
    )


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_lost_connection_of_acknowledged_tasks(
    site: Site, rabbitmq: Rabbit, pool: str
) -> None:
    site.start_worker("-P", pool, "-c", "3")
    early = site.send("t.wait_early", "early")
    late = site.send("t.wait", "early")
    site.reaches(early, "started")
    site.reaches(late, "started")
    close_connections(site, rabbitmq)
    site.until(lambda: site.run(late).duplicates > 0, "the redelivery")
    site.set_flag("early")
    for run_id in (early, late):
        assert site.ended(run_id).state == "succeeded"
        assert (states(site, run_id), len(site.bodies(run_id))) == (["succeeded"], 1)
    assert site.run(early).duplicates == 0


def test_bodies_that_a_lost_connection_cuts_off(site: Site, rabbitmq: Rabbit) -> None:
    site.start_worker(METRONOME_TEST_CANCEL_ON_LOSS="1")
    run_id = site.send("t.wait", "cut", on_lost="rerun")
    site.reaches(run_id, "started")
    close_connections(site, rabbitmq)
    site.until(lambda: len(site.attempts(run_id)) == 2, "the second attempt")
    site.set_flag("cut")
    run = site.ended(run_id)
    assert (run.state, run.retries) == ("succeeded", 0)
    assert states(site, run_id) == ["lost", "succeeded"]
    assert site.attempts(run_id)[0].lost_cause == "connection"


def test_cold_shutdown_of_acknowledged_tasks(site: Site) -> None:
    """Celery says «retry», although nothing will run again."""
    worker = site.start_worker(METRONOME_TEST_SOFT_SHUTDOWN="0")
    fails = site.send("t.wait_early", "never")
    reruns = site.send("t.wait_early", "never", on_lost="rerun")
    site.reaches(fails, "started")
    site.reaches(reruns, "started")
    os.kill(worker.pid, signal.SIGQUIT)
    worker.wait(60)
    run = site.ended(fails)
    assert (run.state, run.reason, run.retries) == ("lost", "cold_shutdown", 0)
    assert site.reaches(reruns, "planned").publish_after is not None
    assert site.result(fails).state == "FAILURE"
