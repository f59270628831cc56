"""What becomes of runs and tasks whose messages are dead letters."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from amqp import Message
from celery.exceptions import TaskRevokedError
from click.testing import Result
from kombu import Connection
from rabbit import Rabbit
from worker_site import HERE, Site

from flask_metronome.cli import metronome_cli
from flask_metronome.database import Database
from flask_metronome.dead_letters import DeadLetterWatch
from flask_metronome.state import State, state_of
from metronome_broker import lane_depths


@pytest.fixture(scope="module")
def site(rabbitmq: Rabbit, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One worker, in a lane that gives up after one redelivery."""
    folder = tmp_path_factory.mktemp("dead")
    vhost = f"test-{uuid.uuid4().hex}"
    url = f"sqlite:///{folder / 'metronome.sqlite'}"
    made = Site(
        broker_url=rabbitmq.add_vhost(vhost),
        database=Database(url),
        database_url=url,
        folder=folder,
        settings={"METRONOME_DELIVERY_LIMIT": "1", "METRONOME_LANES": "idle"},
    )
    try:
        made.start_worker("-c", "1", "-Q", "default")
        yield made
    finally:
        made.stop()
        rabbitmq.delete_vhost(vhost)


@pytest.fixture
def watch(site: Site) -> Iterator[DeadLetterWatch]:
    made = DeadLetterWatch(state(site))
    yield made
    made.close()


def state(site: Site) -> State:
    return state_of(site.celery)


def heard(site: Site, watch: DeadLetterWatch, run_id: str) -> Any:
    """The run, once the news of its death have been taken."""
    site.until(
        lambda: watch.take() < 0 or site.run(run_id).finished_at is not None,
        "the news",
    )
    return site.run(run_id)


def command(site: Site, *words: str) -> Result:
    runner = state(site).flask_app.test_cli_runner()
    return runner.invoke(metronome_cli, ["lanes", "dead", *words])


def kept(site: Site) -> list[dict[str, Any]]:
    found = json.loads(command(site, "list", "--json").stdout)
    assert isinstance(found, list)
    return found


def publish_raw(site: Site, run_id: str, body: bytes, **properties: Any) -> None:
    headers = {"id": run_id, "task": "t.succeed", "metronome_run": run_id}
    with Connection(site.broker_url) as connection:
        message = Message(body, application_headers=headers, **properties)
        connection.default_channel.basic_publish(
            message, "metronome.runs", "default.t:succeed"
        )


@pytest.mark.parametrize(
    ("task", "attempts"), [("t.refuse", "rejected"), ("t.die", "lost")]
)
def test_delivered_too_often(
    site: Site, watch: DeadLetterWatch, task: str, attempts: str
) -> None:
    run_id = site.send(task, on_lost="rerun")
    run = heard(site, watch, run_id)
    assert (run.state, run.reason, run.retries) == ("failed", "delivery_limit", 0)
    assert run.error == "Its message came back from workers too often."
    assert [a.state for a in site.attempts(run_id)] == [attempts] * 2
    assert len(site.bodies(run_id)) == 2
    assert site.result(run_id).state == "FAILURE"


def test_expired_where_no_worker_was(site: Site, watch: DeadLetterWatch) -> None:
    run_id = site.add_run("t.succeed", lane="idle")
    site.publish(run_id, "t.succeed", queue="metronome.idle", expires=0.2)
    run = heard(site, watch, run_id)
    assert (run.state, run.reason, run.missed) == ("expired", "expired", True)
    assert site.attempts(run_id) == []


@pytest.mark.parametrize(
    ("body", "properties"),
    [
        (b"{not json", {"content_type": "application/json"}),
        (b"5", {"content_type": "application/json", "content_encoding": "utf-8"}),
        (b"[1, 2, 3]", {"content_type": "application/json"}),
        (b"\x80\x04N.", {"content_type": "application/x-python-serialize"}),
        (b"\xff\xfe", {}),
    ],
)
def test_what_cannot_be_read(
    site: Site, body: bytes, properties: dict[str, Any]
) -> None:
    """The worker that gets it says so, keeps it, and lives."""
    run_id = site.add_run("t.succeed")
    publish_raw(site, run_id, body, **properties)
    run = site.ended(run_id)
    assert (run.state, run.reason) == ("failed", "undecodable")
    assert site.ended(site.send("t.succeed")).state == "succeeded"
    site.until(lambda: run_id in [d["run"] for d in kept(site)], "the letter")
    [letter] = [d for d in kept(site) if d["run"] == run_id]
    assert (letter["reason"], letter["bytes"]) == ("undecodable", len(body))
    assert site.processes[0].poll() is None


def test_a_copy_that_dies_does_not_end_what_is_running(
    site: Site, watch: DeadLetterWatch
) -> None:
    run_id = site.send("t.wait", "copies")
    site.reaches(run_id, "started")
    site.publish(run_id, "t.succeed", queue="metronome.idle", expires=0.1)
    before = lane_depths(site.broker_url, state(site).topology)["dead"].messages
    site.until(
        lambda: (
            lane_depths(site.broker_url, state(site).topology)["dead"].messages
            >= before
            and watch.take() > 0
        ),
        "the news",
    )
    assert site.run(run_id).state == "started"
    site.set_flag("copies")
    assert site.ended(run_id).state == "succeeded"


def test_tasks_that_are_no_runs_end_too(site: Site, watch: DeadLetterWatch) -> None:
    expired = site.celery.send_task("t.succeed", queue="metronome.idle", expires=0.2)
    poison = site.celery.send_task("t.refuse")
    unread = site.celery.send_task("t.unheard_of")
    for sent in (expired, poison, unread):
        site.until(lambda r=sent: watch.take() < 0 or r.ready(), "the end")
    assert (expired.state, poison.state) == ("REVOKED", "FAILURE")
    assert unread.state == "FAILURE"
    with pytest.raises(TaskRevokedError):
        expired.get(timeout=1)


def test_a_monitor_hears_of_them(site: Site) -> None:
    monitor = subprocess.Popen(
        [sys.executable, "-m", "flask", "--app", "worker_app", "metronome", "monitor"],
        cwd=HERE,
        env={**os.environ, **site.environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        run_id = site.add_run("t.succeed", lane="idle")
        site.publish(run_id, "t.succeed", queue="metronome.idle", expires=0.2)
        assert site.ended(run_id).state == "expired"
    finally:
        monitor.terminate()
        assert monitor.wait(60) == 0


def test_the_commands(site: Site) -> None:
    assert command(site, "discard").exit_code == 2
    cleared = command(site, "discard", "--all")
    assert "dead letters are gone" in cleared.stdout
    assert kept(site) == []
    assert command(site, "list").stdout == "No dead letters.\n"

    with site.database.read() as c:
        past = site.database.now(c) - timedelta(seconds=5)
    run_id = site.add_run("t.succeed", args=[3], lane="default", deadline_at=past)
    site.publish(run_id, "t.succeed", 3, queue="metronome.idle", expires=0.1)
    plain = site.celery.send_task(
        "t.succeed", (4,), {"password": "hush"}, queue="metronome.idle", expires=0.1
    )
    broken = site.add_run("t.succeed")
    publish_raw(site, broken, b"{", content_type="application/json")
    site.until(lambda: len(kept(site)) == 3, "three letters")

    shown = command(site, "show", plain.id)
    assert "hush" not in shown.stdout
    assert "[redacted]" in shown.stdout
    listed = command(site, "list", "--lane", "idle").stdout
    assert plain.id in listed
    assert broken not in listed
    for word in (["show"], ["republish", "--run"], ["discard", "--run"]):
        none = command(site, *word, "nothing")
        assert none.exit_code == 1
        assert none.stderr == "Error: There is no dead letter of nothing.\n"

    again = command(site, "republish", "--all")
    assert f"{plain.id}: back in lane idle" in again.stdout
    assert "again as run" in again.stdout
    assert kept(site) == []
    # a run is over for good: what was to be done is done by a new one
    old = site.run(run_id)
    assert (old.state, old.missed) == ("expired", True)
    new_id = again.stdout.partition(f"{run_id}: again as run ")[2].split()[0]
    new = site.run(new_id)
    assert (new.state, new.args, new.origin) == (
        "planned",
        [3],
        f"manual:dead:{run_id}",
    )
    site.start_worker("-c", "1", "-Q", "idle")
    assert plain.get(timeout=60)["value"] == 4


def test_without_a_database_the_news_stay(
    site: Site, watch: DeadLetterWatch, tmp_path: Path
) -> None:
    run_id = site.add_run("t.refuse")
    site.publish(run_id, "t.refuse")
    away = Database(f"sqlite:///{tmp_path / 'none' / 'x.sqlite'}")
    own, state(site).database = state(site).database, away
    try:
        deaf = DeadLetterWatch(state(site))
        site.until(lambda: raises(deaf), "the news")
        # the broker's news may come before the worker has written its last reject
        assert site.run(run_id).state in {"started", "retrying"}
    finally:
        state(site).database = own
    assert heard(site, watch, run_id).reason == "delivery_limit"


def raises(watch: DeadLetterWatch) -> bool:
    try:
        watch.take()
    except Exception:
        return True
    return False
