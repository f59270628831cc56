"""The whole path with real parts: schedule, beat, RabbitMQ, worker, PostgreSQL."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from celery.app.defaults import NAMESPACES
from clockwork import Clockwork, gaps
from rabbit import Rabbit
from sqlalchemy import select, update

from flask_metronome import every
from flask_metronome.models import attempts, schedules
from flask_metronome.store import schedules as schedule_store


@pytest.fixture
def clockwork(vhost_url: str, database_url: str, tmp_path: Path) -> Iterator[Clockwork]:
    made = Clockwork(broker_url=vhost_url, database_url=database_url, folder=tmp_path)
    yield made
    made.stop()


def test_each_run_goes_to_its_lane_and_to_no_other(clockwork: Clockwork) -> None:
    for lane in ("mail", "reports", "default"):
        clockwork.add(lane, f"clock.{lane}", lane=lane)
        clockwork.worker(lane)
    clockwork.beat()
    clockwork.until(lambda: len(clockwork.lines()) >= 9, "nine bodies")
    found = clockwork.settle()
    assert {run.state for run in found} == {"succeeded"}
    assert {run.lane for run in found} == {"mail", "reports", "default"}
    for run, lane, worker in clockwork.lines():
        assert worker.partition("@")[2] == lane
        assert {r.lane for r in found if r.id == run} == {lane}


def test_results_retries_and_celerys_own_tools(clockwork: Clockwork) -> None:
    clockwork.add("flaky", "clock.flaky", seconds=3)
    clockwork.worker(pool="prefork")
    clockwork.beat()
    clockwork.until(lambda: len(clockwork.lines()) >= 1, "a flaky run to succeed")
    first = clockwork.settle()[0]
    assert (first.state, first.retries, first.attempts) == ("succeeded", 2, 3)
    with clockwork.database.read() as connection:
        tries = connection.execute(
            select(attempts.c.state)
            .where(attempts.c.run_id == first.id)
            .order_by(attempts.c.retries)
        )
        assert tries.scalars().all() == ["retried", "retried", "succeeded"]
    result = clockwork.client().AsyncResult(first.id)
    assert (result.state, result.get(timeout=60)) == ("SUCCESS", "default")
    answer = clockwork.celery("inspect", "ping", "--timeout", "5")
    # a beat answers from Celery 5.7 on, which brought that setting
    answering = 1 + ("enable_remote_control" in NAMESPACES["beat"])
    assert answer.stdout.count("pong") == answering, answer.stdout + answer.stderr


def test_two_beats_one_killed_under_load_lose_and_double_nothing(
    clockwork: Clockwork,
) -> None:
    for number in range(20):
        clockwork.add(f"k{number}", "clock.default")
    clockwork.worker()
    victim, _survivor = clockwork.beat(), clockwork.beat()
    clockwork.until(lambda: len(clockwork.runs()) >= 100, "a hundred runs")
    victim.send_signal(signal.SIGKILL)
    at_the_kill = len(clockwork.runs())
    clockwork.until(lambda: len(clockwork.runs()) >= at_the_kill + 100, "more runs")
    found = clockwork.settle()
    work = [run for run in found if run.state != "skipped"]
    assert {run.state for run in work} == {"succeeded"}
    for number in range(20):
        assert gaps([r for r in work if r.schedule_key == f"k{number}"], 1) == []
    assert set(clockwork.bodies()) == {run.id for run in work}
    assert set(clockwork.bodies().values()) == {1}


def test_live_edits_wake_a_beat_that_would_sleep_for_an_hour(
    clockwork: Clockwork,
) -> None:
    clockwork.worker()
    clockwork.beat(METRONOME_BEAT_MAX_SLEEP_SECONDS="3600")
    clockwork.add("new", "clock.default", seconds=2)
    clockwork.until(lambda: bool(clockwork.runs("new")), "the new schedule to fire")
    _define(clockwork, "new", lane="mail")
    edited_at = _now(clockwork)
    clockwork.until(
        lambda: clockwork.runs("new")[-1].due_at > edited_at, "a run after the edit"
    )
    assert clockwork.runs("new")[-1].lane == "mail"
    paused_at = clockwork.pause_all()
    with clockwork.database.begin() as connection:
        schedule_store.resume(connection, "new", who="test", now=_now(clockwork))
    clockwork.until(
        lambda: clockwork.runs("new")[-1].due_at > paused_at, "a run after resuming"
    )


def test_a_cadence_edited_by_hand_in_sql_takes_effect(clockwork: Clockwork) -> None:
    clockwork.worker()
    clockwork.add("slow", "clock.default", seconds=3600)
    clockwork.beat()
    with clockwork.database.begin() as connection:
        connection.execute(
            update(schedules)
            .where(schedules.c.key == "slow")
            .values(cadence=every(1, "seconds").to_dict())
        )
    clockwork.until(lambda: bool(clockwork.runs("slow")), "the edited cadence to fire")
    assert clockwork.settle()[0].state == "succeeded"


def _define(clockwork: Clockwork, key: str, **changes: str) -> None:
    with clockwork.database.begin() as connection:
        old = schedule_store.get(connection, key).definition.to_dict()
        schedule_store.replace_definition(
            connection,
            key,
            schedule_store.Definition.from_dict(old | changes),
            who="test",
            now=clockwork.database.now(connection),
        )


def _now(clockwork: Clockwork):  # type: ignore[no-untyped-def]
    with clockwork.database.read() as connection:
        return clockwork.database.now(connection)


def test_a_broker_away_for_fifteen_seconds_costs_no_run(
    own_rabbitmq: Rabbit, database_url: str, tmp_path: Path
) -> None:
    clockwork = Clockwork(
        broker_url=own_rabbitmq.url, database_url=database_url, folder=tmp_path
    )
    try:
        _outage(clockwork, own_rabbitmq)
    finally:
        clockwork.stop()


def _outage(clockwork: Clockwork, broker: Rabbit) -> None:
    clockwork.add("steady", "clock.default")
    clockwork.worker()
    beat, other = clockwork.beat(), clockwork.beat()
    clockwork.until(lambda: len(clockwork.lines()) >= 3, "three bodies")
    broker.stop()
    stopped_at = _now(clockwork)
    clockwork.until(
        lambda: _now(clockwork) > stopped_at + timedelta(seconds=12), "the outage"
    )
    during = [run for run in clockwork.runs("steady") if run.due_at > stopped_at]
    assert len(during) >= 10, "planning must go on without a broker"
    other.terminate()
    # the broker is away until this has ended: who waits for it never stops
    assert other.wait(60) == 0
    clockwork.until(
        lambda: _now(clockwork) > stopped_at + timedelta(seconds=15), "the outage"
    )
    broker.start()
    back_at = _now(clockwork)
    clockwork.until(
        lambda: clockwork.runs("steady")[-1].due_at > back_at + timedelta(seconds=3),
        "runs after the outage",
    )
    assert beat.poll() is None
    found = clockwork.settle()
    work = [run for run in found if run.state != "skipped"]
    assert gaps(work, 1) == []
    assert {run.state for run in work} == {"succeeded"}
    assert set(clockwork.bodies()) == {run.id for run in work}
    assert set(clockwork.bodies().values()) == {1}
