"""What a real prefork worker records of runs, however their bodies end."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from celery import chord, group
from celery.exceptions import ChordError, TaskRevokedError
from rabbit import Rabbit
from worker_site import Site

from flask_metronome.cli import metronome_cli
from flask_metronome.database import Database


@pytest.fixture(scope="module")
def site(rabbitmq: Rabbit, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One worker of two processes for all tests of this file, on SQLite."""
    folder = tmp_path_factory.mktemp("worker")
    vhost = f"test-{uuid.uuid4().hex}"
    url = f"sqlite:///{folder / 'metronome.sqlite'}"
    made = Site(
        broker_url=rabbitmq.add_vhost(vhost),
        database=Database(url),
        database_url=url,
        folder=folder,
    )
    try:
        made.start_worker()
        yield made
    finally:
        made.stop()
        rabbitmq.delete_vhost(vhost)


def states(attempts: list[Any]) -> list[str]:
    return [attempt.state for attempt in attempts]


def test_success(site: Site) -> None:
    run_id = site.add_run("t.succeed")
    site.publish(run_id, "t.succeed", 7, headers={"traceparent": f"00-{'a' * 32}-b-01"})
    run = site.ended(run_id)
    [attempt] = site.attempts(run_id)
    assert (run.state, run.attempts, run.retries, run.late) == (
        "succeeded",
        1,
        0,
        False,
    )
    assert run.received_at <= run.started_at <= run.finished_at
    assert run.worker == attempt.worker
    assert attempt.worker.startswith("w")
    assert (attempt.state, attempt.trace_id) == ("succeeded", "a" * 32)
    assert site.bodies(run_id) == [(0, attempt.pid)]
    answer = site.result(run_id).get(timeout=60)
    assert (answer["value"], answer["app"]) == (7, "worker_app")


def test_failure_is_recorded_without_secrets(site: Site) -> None:
    run = site.ended(site.send("t.fail"))
    [attempt] = site.attempts(run.id)
    assert (run.state, run.error_type) == ("failed", "ValueError")
    assert run.error == "no luck with token=[redacted]"
    assert len(attempt.fingerprint) == 64
    assert "in fail" in attempt.traceback
    assert "abc123" not in attempt.traceback
    with pytest.raises(ValueError, match="no luck"):
        site.result(run.id).get(timeout=60)
    assert "abc123" not in str(site.stored(run.id))


def test_retries_are_counted_once_each(site: Site) -> None:
    run = site.ended(site.send("t.flaky", 2))
    assert (run.state, run.retries, run.attempts) == ("succeeded", 2, 3)
    attempts = site.attempts(run.id)
    assert states(attempts) == ["retried", "retried", "succeeded"]
    assert [a.retries for a in attempts] == [0, 1, 2]
    assert attempts[0].error == "try 0"
    assert "try 0" in attempts[0].retry_reason
    assert [retries for retries, _ in site.bodies(run.id)] == [0, 1, 2]
    assert site.result(run.id).get(timeout=60) == "at last"


def test_retries_run_out(site: Site) -> None:
    run = site.ended(site.send("t.flaky", 9))
    assert (run.state, run.retries, run.attempts) == ("failed", 3, 4)
    assert states(site.attempts(run.id)) == ["retried"] * 3 + ["failed"]


@pytest.mark.parametrize(("error", "state"), [(False, "succeeded"), (True, "failed")])
def test_an_ignored_result_still_ends_its_run(
    site: Site, error: bool, state: str
) -> None:
    run = site.ended(site.send("t.silent", error))
    [attempt] = site.attempts(run.id)
    assert (run.state, attempt.state) == (state, state)
    assert attempt.error_type == ("KeyError" if error else None)
    assert site.stored(run.id) is None


def test_a_task_that_is_not_scheduled(site: Site) -> None:
    sent = site.celery.send_task("t.succeed", (1,), {"password": "hunter2"})
    answer = sent.get(timeout=60)
    # what the caller gets is the result itself; what is shown is redacted
    assert answer["password"] == "hunter2"
    assert "hunter2" not in site.stored(sent.id).kwargs
    assert sent.kwargs == {"password": "[redacted]"}
    assert sent.name == "t.succeed"
    assert site.attempts(sent.id) == []
    failed = site.celery.send_task("t.fail")
    with pytest.raises(ValueError, match="no luck"):
        failed.get(timeout=60)
    failed.forget()
    assert failed.state == "PENDING"


def test_the_same_message_five_times_runs_once(site: Site) -> None:
    run_id = site.add_run("t.succeed")
    for _ in range(5):
        site.publish(run_id, "t.succeed")
    site.until(lambda: site.run(run_id).duplicates == 4, "four duplicates")
    assert (site.run(run_id).state, len(site.bodies(run_id))) == ("succeeded", 1)
    assert len(site.attempts(run_id)) == 1


def test_a_started_run_says_so_and_where(site: Site) -> None:
    run_id = site.send("t.progress", "progress")
    result = site.result(run_id)
    site.until(lambda: result.state == "PROGRESS", "progress")
    assert result.info == {"done": 1}
    assert site.run(run_id).state == "started"
    site.set_flag("progress")
    assert result.get(timeout=60) == "done"
    waiting = site.send("t.wait", "started")
    site.reaches(waiting, "started")
    about = site.result(waiting)
    assert about.state == "STARTED"
    assert about.info["hostname"] == site.run(waiting).worker
    site.set_flag("started")
    assert site.ended(waiting).state == "succeeded"


def test_hard_time_limit(site: Site) -> None:
    run = site.ended(site.send("t.too_long"))
    [attempt] = site.attempts(run.id)
    assert (run.state, run.reason, attempt.state) == (
        "timed_out",
        "time_limit",
        "timed_out",
    )
    assert 0.9 < run.runtime_seconds < 20
    assert len(site.bodies(run.id)) == 1
    assert site.result(run.id).state == "FAILURE"


def test_soft_time_limit(site: Site) -> None:
    run = site.ended(site.send("t.soft"))
    assert (run.state, run.reason) == ("timed_out", "soft_time_limit")
    assert states(site.attempts(run.id)) == ["timed_out"]


def test_ignore(site: Site) -> None:
    run = site.ended(site.send("t.ignore"))
    assert (run.state, run.reason) == ("cancelled", "ignored")
    assert states(site.attempts(run.id)) == ["ignored"]


def test_reject(site: Site) -> None:
    run = site.ended(site.send("t.reject"))
    assert (run.state, run.reason) == ("failed", "rejected")
    assert states(site.attempts(run.id)) == ["rejected"]
    assert "do not want" in run.error


def test_reject_and_requeue_is_no_retry(site: Site) -> None:
    run = site.ended(site.send("t.reject", True))
    assert (run.state, run.retries, run.attempts) == ("succeeded", 0, 2)
    assert states(site.attempts(run.id)) == ["rejected", "succeeded"]


def test_a_replaced_task_hands_its_run_on(site: Site) -> None:
    run = site.ended(site.send("t.replace"))
    assert (run.state, run.retries, run.attempts) == ("succeeded", 0, 2)
    assert [a.task for a in site.attempts(run.id)] == ["t.replace", "t.succeed"]
    assert site.result(run.id).get(timeout=60)["value"] == "replaced"


@pytest.mark.parametrize(
    ("task", "cause"), [("t.die_once", "child_killed"), ("t.leave", "exit")]
)
def test_a_killed_pool_process_loses_the_run(site: Site, task: str, cause: str) -> None:
    run = site.ended(site.send(task))
    [attempt] = site.attempts(run.id)
    assert (run.state, attempt.state) == ("lost", "lost")
    assert attempt.lost_cause == run.reason == cause
    assert len(site.bodies(run.id)) == 1
    assert site.result(run.id).state == "FAILURE"


def test_a_killed_pool_process_is_followed_by_another_on_rerun(site: Site) -> None:
    run = site.ended(site.send("t.die_once", on_lost="rerun"))
    assert (run.state, run.retries) == ("succeeded", 0)
    assert states(site.attempts(run.id)) == ["lost", "succeeded"]
    assert [a.delivery for a in site.attempts(run.id)] == [1, 2]


def test_expired_before_it_came(site: Site) -> None:
    run_id = site.add_run("t.succeed")
    with site.database.read() as c:
        past = site.database.now(c) - timedelta(seconds=5)
    site.publish(run_id, "t.succeed", expires=past)
    run = site.ended(run_id)
    assert (run.state, run.missed, run.reason) == ("expired", True, "expired")
    assert site.bodies(run_id) == []
    with pytest.raises(TaskRevokedError):
        site.result(run_id).get(timeout=60)


def test_past_its_start_deadline(site: Site) -> None:
    with site.database.read() as c:
        past = site.database.now(c) - timedelta(seconds=1)
    run = site.ended(site.send("t.succeed", deadline_at=past))
    assert (run.state, run.missed) == ("expired", True)
    assert site.bodies(run.id) == []


def test_a_terminated_body(site: Site) -> None:
    run_id = site.send("t.wait", "never")
    site.reaches(run_id, "started")
    site.celery.control.revoke(run_id, terminate=True, signal="SIGKILL")
    run = site.ended(run_id)
    assert (run.state, run.reason) == ("cancelled", "revoked")
    assert states(site.attempts(run_id)) == ["cancelled"]


def test_a_task_that_the_worker_does_not_have(site: Site) -> None:
    run = site.ended(site.send("t.unheard_of"))
    assert (run.state, run.reason) == ("failed", "unregistered")


def test_overlap_is_held_at_the_claim(site: Site) -> None:
    first = site.send("t.wait", "overlap", concurrency_key="k", exclusive=True)
    site.reaches(first, "started")
    second = site.send("t.succeed", concurrency_key="k", exclusive=True)
    assert site.ended(second).reason == "overlap"
    assert site.bodies(second) == []
    site.set_flag("overlap")
    assert site.ended(first).state == "succeeded"
    third = site.send("t.succeed", concurrency_key="k", exclusive=True)
    assert site.ended(third).state == "succeeded"


def test_chord_and_chain(site: Site) -> None:
    one, two = (
        site.celery.signature("t.succeed", (n,), immutable=True) for n in (1, 2)
    )
    chained = (one | two).apply_async()
    assert chained.get(timeout=60)["value"] == 2
    assert chained.parent.get(timeout=60)["value"] == 1
    both = chord([one, two], app=site.celery)(site.celery.signature("t.succeed"))
    assert [part["value"] for part in both.get(timeout=60)["value"]] == [1, 2]
    group = site.celery.GroupResult(
        "g1", [site.celery.AsyncResult("a"), site.celery.AsyncResult("b")]
    )
    group.save()
    assert [r.id for r in site.celery.GroupResult.restore("g1").results] == ["a", "b"]


def test_links_of_success_and_of_failure(site: Site) -> None:
    signature = site.celery.signature
    good, bad = (signature("t.succeed").set(task_id=str(uuid.uuid4())) for _ in "ab")
    site.celery.send_task("t.succeed", (7,), link=good.clone())
    failed = site.celery.send_task("t.fail", link_error=bad.clone())
    assert site.result(good.id).get(timeout=60)["value"]["value"] == 7
    assert site.result(bad.id).get(timeout=60)["value"] == failed.id
    assert failed.state == "FAILURE"


def test_a_group_waits_for_all_and_tells_of_the_one_that_failed(site: Site) -> None:
    parts = [site.celery.signature("t.succeed", (n,)) for n in range(3)]
    both = group(parts, app=site.celery).apply_async()
    assert [part["value"] for part in both.get(timeout=60)] == [0, 1, 2]
    broken = group([*parts, site.celery.signature("t.fail")], app=site.celery)
    with pytest.raises(ValueError, match="no luck"):
        broken.apply_async().get(timeout=60)
    ended = chord([site.celery.signature("t.fail")], app=site.celery)(
        site.celery.signature("t.succeed")
    )
    site.until(ended.ready, "the chord")
    assert isinstance(ended.result, ChordError)


def test_children_point_back_to_their_run(site: Site) -> None:
    """Over a chain's link, a retry, and the chord's own unlocking task."""
    run_id = site.send("t.children")
    assert site.ended(run_id).state == "succeeded"

    flask_app = site.celery.flask_app
    api = f"/metronome/api/v1/runs/{run_id}"

    def found() -> list[Any]:
        children = flask_app.test_client().get(api).json["children"]
        return [c for c in children if c["state"] == "SUCCESS"]

    site.until(lambda: len(found()) == 6, "six children")
    assert sorted(c["task"] for c in found()) == ["t.flaky"] + ["t.succeed"] * 5
    assert {c["parent_id"] for c in found()} >= {run_id}
    # a child is no run: it has no attempts, and the run's count is its own
    assert all(site.attempts(c["task_id"]) == [] for c in found())
    assert site.run(run_id).attempts == 1
    words = ("runs", "show", run_id)
    printed = flask_app.test_cli_runner().invoke(metronome_cli, words).stdout
    assert printed.count("t.succeed") == 5
    assert printed.count("this run") >= 3


def test_a_worker_logs_no_secrets(site: Site) -> None:
    sent = site.celery.send_task("t.succeed", (1,), {"password": "hunter2"})
    assert sent.get(timeout=20)["password"] == "hunter2"
    failed = site.ended(site.send("t.fail"))

    def log() -> str:
        return "".join(path.read_text() for path in site.folder.glob("*.log"))

    for task_id in (sent.id, failed.id):
        site.until(lambda i=task_id: log().count(i) > 1, "the end in the log")
    assert "'password': [redacted]" in log()
    assert "token=[redacted]" in log()
    assert "hunter2" not in log()
    assert "abc123" not in log()


def test_nothing_is_left_behind(site: Site) -> None:
    assert not list(Path(site.folder / "data").rglob("*.jsonl"))
