"""The causes that only a monitor sees: no beat at the due time, a body without end.

The table is in ``causes.py``.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rabbit import Rabbit
from worker_site import Site

from flask_metronome import Definition, every
from flask_metronome.cli import metronome_cli
from flask_metronome.database import Database
from flask_metronome.monitor import Monitor
from flask_metronome.state import state_of
from flask_metronome.store import schedules


@pytest.fixture
def site(rabbitmq: Rabbit, tmp_path: Path) -> Iterator[Site]:
    """A worker of threads, on SQLite."""
    vhost = f"test-{uuid.uuid4().hex}"
    url = f"sqlite:///{tmp_path / 'metronome.sqlite'}"
    made = Site(
        broker_url=rabbitmq.add_vhost(vhost),
        database=Database(url),
        database_url=url,
        folder=tmp_path,
    )
    try:
        made.start_worker("-P", "threads", "-c", "2")
        yield made
    finally:
        made.stop()
        rabbitmq.delete_vhost(vhost)


def watching(site: Site) -> Monitor:
    """A monitor that was there long enough to judge.

    It is patient with workers: on a busy machine they renew their leases late.
    """
    state = state_of(site.celery)
    first = Monitor(site.database, state.settings, holder="watching")
    first.sweep()
    patient = replace(state.settings, lease_seconds=60)
    return Monitor(site.database, patient, holder="watching")


def told(site: Site, *words: str) -> str:
    runner = state_of(site.celery).flask_app.test_cli_runner()
    return str(runner.invoke(metronome_cli, words).stdout)


def asked(site: Site, path: str) -> Any:
    return state_of(site.celery).flask_app.test_client().get(f"/metronome{path}")


def test_no_beat_and_a_thread_that_does_not_end(site: Site) -> None:
    monitor = watching(site)
    definition = Definition(
        key="nobody", task="t.succeed", cadence=every(1, "seconds"), grace_seconds=0.1
    )
    with site.database.begin() as c:
        now = site.database.now(c)
        schedules.add(c, definition, owner="api", who="test", now=now)
    endless = site.send("t.wait", "endless", max_runtime_seconds=0.5)
    site.reaches(endless, "started")

    # the body goes on, for nobody can end a thread, and is shown as what it is
    site.until(
        lambda: bool(monitor.sweep()) and site.run(endless).stuck, "it to be stuck"
    )
    run = asked(site, f"/api/v1/runs/{endless}").json
    assert (run["state"], run["overrun"], run["stuck"]) == ("started", True, True)
    assert [attempt["state"] for attempt in run["attempts"]] == ["running"]
    assert "started overrun stuck" in told(site, "runs", "list", "--flag", "stuck")
    site.set_flag("endless")
    assert site.ended(endless).state == "succeeded"
    assert len(site.bodies(endless)) == 1

    def missed() -> Any:
        path = "/api/v1/runs?schedule=nobody&flag=missed"
        return monitor.sweep() and asked(site, path).json["items"]

    site.until(lambda: bool(missed()), "the monitor to miss a beat")
    [run] = missed()
    assert (run["state"], run["reason"]) == ("missed", "scheduler_down")
    assert run["attempt_count"] == 0
    assert "scheduler_down" in told(site, "runs", "list", "--schedule", "nobody")
    assert "no beat was running" in asked(site, f"/runs/{run['id']}").text
    assert site.bodies(run["id"]) == []
