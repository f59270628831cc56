"""Retries, replacements, chords and forgotten results: the run ends as it ended."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from rabbit import Rabbit
from test_causes import made_site, states
from worker_site import Site


@pytest.fixture(scope="module", params=["prefork", "threads"])
def site(
    rabbitmq: Rabbit,
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Site]:
    for made in made_site(rabbitmq, tmp_path_factory.mktemp(request.param)):
        made.start_worker("-P", request.param, "-c", "3")
        yield made


@pytest.mark.parametrize("then", ["return", "raise", "ignore"])
def test_a_body_that_goes_on_after_its_retry(site: Site, then: str) -> None:
    """``retry(throw=False)``: what the body says afterwards is not the outcome."""
    run = site.ended(site.send("t.promise", then))
    assert (run.state, run.retries) == ("succeeded", 1)
    assert states(site, run.id) == ["retried", "succeeded"]
    assert [retries for retries, _ in site.bodies(run.id)] == [0, 1]
    assert site.result(run.id).get(timeout=60) == "at last"


@pytest.mark.parametrize("kind", ["chain", "chord"])
def test_a_replacement_that_fails_before_its_last_task(site: Site, kind: str) -> None:
    """The run's heir never runs: nobody else would end the run."""
    run = site.ended(site.send("t.replace_by", kind))
    assert (run.state, run.reason) == ("failed", "replacement_failed")
    assert "no luck" in run.error
    assert "abc123" not in run.error
    assert states(site, run.id) == ["ignored"]
    assert site.result(run.id).state == "FAILURE"


def test_a_replacement_that_cannot_be_published(site: Site) -> None:
    run = site.ended(site.send("t.replace_by", "nobody"))
    assert (run.state, run.reason) == ("failed", None)
    assert "nowhere" in run.error
    assert states(site, run.id) == ["failed"]
    assert site.result(run.id).state == "FAILURE"
    assert site.stored(run.id).status == "FAILURE"


def test_a_retry_may_come_after_the_start_deadline(site: Site) -> None:
    with site.database.read() as c:
        deadline = site.database.now(c) + timedelta(seconds=1)
    run_id = site.add_run("t.retry_later", deadline_at=deadline)
    site.publish(run_id, "t.retry_later", 2, expires=deadline)
    run = site.ended(run_id)
    assert (run.state, run.retries, run.missed) == ("succeeded", 1, False)
    assert run.finished_at > deadline


def test_a_chord_that_fails_is_its_own_affair(site: Site) -> None:
    run = site.ended(site.send("t.bad_chord"))
    assert (run.state, run.attempts) == ("succeeded", 1)
    callback, _ = site.result(run.id).get(timeout=60)
    site.until(lambda: site.result(callback).ready(), "the chord")
    assert site.result(callback).state == "FAILURE"
    assert "no luck" in str(site.result(callback).result)
    assert site.stored(callback) is not None
    assert site.run(run.id).state == "succeeded"


def test_a_forgotten_result_is_no_forgotten_run(site: Site) -> None:
    good, bad = site.send("t.succeed"), site.send("t.fail")
    for run_id in (good, bad):
        site.ended(run_id)
        site.result(run_id).forget()
        assert site.stored(run_id) is None
    assert (site.run(good).state, site.run(bad).state) == ("succeeded", "failed")
    # the run still says how it failed
    assert site.result(bad).state == "FAILURE"


def test_a_memory_error_is_the_failure_of_a_body(site: Site) -> None:
    """Celery ends the worker by it; threads take one message less with each."""
    sent = [site.send("t.memory") for _ in range(4)]
    for run_id in sent:
        run = site.ended(run_id)
        assert (run.state, run.error_type, run.attempts) == ("failed", "MemoryError", 1)
    assert site.ended(site.send("t.succeed")).state == "succeeded"
    assert [process.poll() for process in site.processes] == [None]
