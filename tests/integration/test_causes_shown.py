"""How bodies end, in every pool, and all that a person is shown of it.

One worker a pool meets all of them at once; the table is in ``causes.py``.
"""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from importlib.util import find_spec
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from rabbit import Rabbit
from worker_site import Site

from flask_metronome.cli import metronome_cli
from flask_metronome.database import Database
from flask_metronome.monitor import Monitor
from flask_metronome.state import state_of

POOLS = ("prefork", "threads", "gevent", "eventlet", "solo")
INSTALLED = [p for p in POOLS if p not in ("gevent", "eventlet") or find_spec(p)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """What one task does, and what is to be recorded and shown of it.

    :param words: what a person reads of its end, on the page and in a terminal.
    :param pools: where it can happen; empty for every pool.
    """

    number: int
    task: str
    args: tuple[Any, ...] = ()
    state: str
    reason: str | None = None
    attempts: tuple[str, ...]
    bodies: int
    words: tuple[str, ...] = ()
    pools: tuple[str, ...] = ()
    on_lost: str = "fail"


PROCESSES = ("prefork",)
ROWS = (
    Row(
        number=1, task="t.succeed", state="succeeded", attempts=("succeeded",), bodies=1
    ),
    Row(
        number=2,
        task="t.fail",
        state="failed",
        attempts=("failed",),
        bodies=1,
        words=("ValueError", "no luck with token=[redacted]"),
    ),
    Row(
        number=2,
        task="t.soft",
        state="timed_out",
        reason="soft_time_limit",
        attempts=("timed_out",),
        bodies=1,
        words=("SoftTimeLimitExceeded",),
        pools=PROCESSES,
    ),
    Row(
        number=2,
        task="t.cancelled",
        state="failed",
        attempts=("failed",),
        bodies=1,
        words=("CancelledError: stop",),
    ),
    Row(
        number=3,
        task="t.flaky",
        args=(2,),
        state="succeeded",
        attempts=("retried", "retried", "succeeded"),
        bodies=3,
        words=("try 0", "try 1"),
    ),
    Row(
        number=4,
        task="t.flaky",
        args=(9,),
        state="failed",
        attempts=("retried",) * 3 + ("failed",),
        bodies=4,
        words=("ConnectionError", "try 3"),
    ),
    Row(
        number=5,
        task="t.retry_nowhere",
        state="failed",
        reason="retry_publish_failed",
        attempts=("rejected",),
        bodies=1,
        words=("nowhere",),
    ),
    Row(
        number=6,
        task="t.too_long",
        state="timed_out",
        reason="time_limit",
        attempts=("timed_out",),
        bodies=1,
        words=("TimeLimitExceeded",),
        pools=PROCESSES,
    ),
    Row(
        number=6,
        task="t.second_try",
        args=("wait",),
        state="timed_out",
        reason="time_limit",
        attempts=("retried", "timed_out"),
        bodies=2,
        words=("TimeLimitExceeded",),
        pools=PROCESSES,
    ),
    Row(
        number=8,
        task="t.second_try",
        args=("die",),
        state="lost",
        reason="child_killed",
        attempts=("retried", "lost"),
        bodies=2,
        words=("its worker process was killed",),
        pools=PROCESSES,
    ),
    Row(
        number=8,
        task="t.die_once",
        state="lost",
        reason="child_killed",
        attempts=("lost",),
        bodies=1,
        words=("its worker process was killed",),
        pools=PROCESSES,
    ),
    Row(
        number=8,
        task="t.die_once",
        on_lost="rerun",
        state="succeeded",
        attempts=("lost", "succeeded"),
        bodies=2,
        words=("its worker process was killed",),
        pools=PROCESSES,
    ),
    Row(
        number=9,
        task="t.leave",
        state="lost",
        reason="exit",
        attempts=("lost",),
        bodies=1,
        words=("its worker process ended",),
    ),
    Row(
        number=9,
        task="t.second_try",
        args=("leave",),
        state="lost",
        reason="exit",
        attempts=("retried", "lost"),
        bodies=2,
        words=("its worker process ended",),
    ),
    Row(
        number=9,
        task="t.replace_by_leaving",
        state="lost",
        reason="exit",
        attempts=("ignored", "lost"),
        bodies=2,
    ),
    Row(
        number=9,
        task="t.interrupted",
        state="lost",
        reason="exit",
        attempts=("lost",),
        bodies=1,
        pools=PROCESSES,
    ),
    Row(
        number=9,
        task="t.interrupted",
        state="failed",
        attempts=("failed",),
        bodies=1,
        words=("KeyboardInterrupt",),
        pools=("threads",),
    ),
    Row(
        number=9,
        task="t.leave_once",
        on_lost="rerun",
        state="succeeded",
        attempts=("lost", "succeeded"),
        bodies=2,
    ),
    Row(
        number=10,
        task="t.reject",
        state="failed",
        reason="rejected",
        attempts=("rejected",),
        bodies=1,
        words=("do not want",),
    ),
    Row(
        number=11,
        task="t.ignore",
        state="cancelled",
        reason="ignored",
        attempts=("ignored",),
        bodies=1,
        words=("ignored",),
    ),
    Row(
        number=12,
        task="t.succeed",
        args=("too late",),
        state="expired",
        reason="expired",
        attempts=(),
        bodies=0,
        words=("its start deadline passed",),
    ),
    Row(
        number=22,
        task="t.unheard_of",
        state="failed",
        reason="unregistered",
        attempts=(),
        bodies=0,
        words=("There is no task",),
    ),
    Row(
        number=23,
        task="t.odd",
        state="failed",
        attempts=("failed",),
        bodies=1,
        words=("EncodeError", "not JSON serializable"),
    ),
)


@pytest.fixture(scope="module", params=INSTALLED)
def site(
    rabbitmq: Rabbit,
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Site]:
    """A worker of that pool, on SQLite."""
    folder = tmp_path_factory.mktemp(request.param)
    vhost = f"test-{uuid.uuid4().hex}"
    url = f"sqlite:///{folder / 'metronome.sqlite'}"
    made = Site(
        broker_url=rabbitmq.add_vhost(vhost),
        database=Database(url),
        database_url=url,
        folder=folder,
    )
    made.pool = request.param  # type: ignore[attr-defined]
    try:
        made.start_worker("-P", request.param, "-c", "4")
        yield made
    finally:
        made.stop()
        rabbitmq.delete_vhost(vhost)


def sent(site: Site, row: Row) -> str:
    """Send a row's task; its run."""
    if row.state != "expired":
        return site.send(row.task, *row.args, on_lost=row.on_lost)
    with site.database.read() as c:
        past = site.database.now(c) - timedelta(seconds=5)
    return site.send(row.task, *row.args, deadline_at=past)


def test_every_end_of_a_body_and_what_is_shown_of_it(site: Site) -> None:
    rows = [r for r in ROWS if not r.pools or site.pool in r.pools]  # type: ignore[attr-defined]
    runs = {sent(site, row): row for row in rows}
    for run_id, row in runs.items():
        run = site.ended(run_id)
        attempts = [attempt.state for attempt in site.attempts(run_id)]
        assert (run.state, run.reason, tuple(attempts)) == (
            row.state,
            row.reason,
            row.attempts,
        ), row
        assert run.retries == row.attempts.count("retried"), row
        assert (run.attempts, len(site.bodies(run_id))) == (len(attempts), row.bodies)
        seen(site, run_id, row)
    counted(site, list(runs.values()))
    # whatever the bodies did, the worker lives
    assert site.ended(site.send("t.succeed")).state == "succeeded"
    assert site.processes[0].poll() is None


def seen(site: Site, run_id: str, row: Row) -> None:
    """API, terminal and page agree, and give the reason in words."""
    client = state_of(site.celery).flask_app.test_client()
    answer = client.get(f"/metronome/api/v1/runs/{run_id}").json
    assert (answer["state"], answer["reason"]) == (row.state, row.reason)
    assert [a["state"] for a in answer["attempts"]] == list(row.attempts)
    runner = state_of(site.celery).flask_app.test_cli_runner()
    result = runner.invoke(metronome_cli, ["runs", "show", run_id, "--json"])
    told = json.loads(result.stdout)
    assert (told["state"], told["retries"]) == (row.state, answer["retries"])
    printed = runner.invoke(metronome_cli, ["runs", "show", run_id]).stdout
    page = client.get(f"/metronome/runs/{run_id}").text
    assert row.reason is None or row.reason in printed
    for words in row.words:
        assert words in page, row


def counted(site: Site, rows: list[Row]) -> None:
    """Each end is counted once, on the page for Prometheus."""
    state = state_of(site.celery)
    monitor = Monitor(site.database, state.settings)
    client = state.flask_app.test_client()
    expected = Counter(f"run {row.state}" for row in rows)
    expected += Counter(f"attempt {word}" for row in rows for word in row.attempts)

    def found() -> Counter[str]:
        count: Counter[str] = Counter()
        text = client.get("/metronome/metrics").text
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                kind = {
                    "metronome_runs_total": "run",
                    "metronome_attempts_total": "attempt",
                }.get(sample.name)
                if kind is not None:
                    outcome = sample.labels["outcome"]
                    count[f"{kind} {outcome}"] += int(sample.value)
        return +count

    everything = sum(expected.values())
    site.until(
        lambda: bool(monitor.sweep()) and sum(found().values()) >= everything,
        "the counters",
    )
    assert found() == expected
