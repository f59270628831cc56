"""Run and incident events on a real RabbitMQ, heard by the example consumer."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from kombu import Connection, Exchange, Queue
from rabbit import Rabbit
from sqlalchemy import select, update

from flask_metronome import Definition, Metronome, every, schema
from flask_metronome.messenger import EventPublisher
from flask_metronome.models import messages, runs
from flask_metronome.monitor import Monitor
from flask_metronome.operations import Operations
from flask_metronome.state import State

EXAMPLE = Path(__file__).parents[2] / "examples" / "consumer.py"


def report() -> None:
    """The one task."""


def make_state(folder: Path, broker_url: str) -> State:
    app = Flask("events", instance_path=str(folder))
    app.config["METRONOME_BROKER_URL"] = broker_url
    app.config["METRONOME_EVENTS"] = True
    app.config["METRONOME_CONFIRM_TIMEOUT_SECONDS"] = 2
    metronome = Metronome(app)
    metronome.task(name="shop.report")(report)
    state = metronome.state
    schema.init_db(state.database)
    metronome.schedules.add(
        Definition(key="daily.report", task="shop.report", cadence=every(1, "days"))
    )
    return state


@pytest.fixture
def state(tmp_path: Path, vhost_url: str) -> Iterator[State]:
    made = make_state(tmp_path, vhost_url)
    made.topology.apply(vhost_url)
    yield made
    made.database.dispose()


def fail_one(state: State) -> str:
    """A run that fails, and the sweep that sees it."""
    run = Operations(state).trigger("daily.report")
    with state.database.begin() as connection:
        now = state.database.now(connection)
        connection.execute(
            update(runs)
            .where(runs.c.id == run)
            .values(
                state="failed",
                finished_at=now,
                error_type="ValueError",
                error="no paper",
            )
        )
    Monitor(state.database, state.settings).sweep()
    return run


def states(state: State) -> set[str]:
    with state.database.read() as connection:
        return set(connection.scalars(select(messages.c.state)))


def test_the_example_hears_of_a_failed_run(state: State, vhost_url: str) -> None:
    consumer = subprocess.Popen(
        [sys.executable, str(EXAMPLE), vhost_url], stdout=subprocess.PIPE, text=True
    )
    try:
        _wait_for_queue(vhost_url, "alarms")
        fail_one(state)
        publisher = EventPublisher(state)
        assert publisher.turn() == 2, "the run's end and the incident"
        assert publisher.turn() == 0
        publisher.close()
        assert consumer.stdout is not None
        line = _line_within(consumer.stdout, seconds=10)
        assert line == "run.failed daily.report no paper\n"
    finally:
        consumer.terminate()
        consumer.wait(60)
        if consumer.stdout is not None:
            consumer.stdout.close()


def test_bodies_are_persistent_json_with_an_id(state: State, vhost_url: str) -> None:
    events = Exchange("metronome.events", "topic", passive=True)
    with Connection(vhost_url) as broker:
        everything = Queue("all", events, routing_key="#")(broker.default_channel)
        everything.declare()
        run = fail_one(state)
        publisher = EventPublisher(state)
        publisher.turn()
        publisher.close()
        found = {}
        while (message := everything.get(no_ack=True)) is not None:
            found[message.delivery_info["routing_key"]] = message
    assert set(found) == {
        "run.failed.default.daily:report",
        "incident.opened.failed.daily:report",
    }
    message = found["run.failed.default.daily:report"]
    body = message.payload
    assert (body["version"], body["data"]["run"]) == (1, run)
    assert message.properties["delivery_mode"] == 2
    assert message.properties["message_id"] == body["id"]
    assert message.properties["type"] == "run.failed"


def test_what_nobody_listens_to_is_done_with(state: State) -> None:
    fail_one(state)
    publisher = EventPublisher(state)
    assert publisher.turn() == 2
    publisher.close()
    assert states(state) == {"sent"}


def test_events_wait_for_a_broker_that_is_away(
    tmp_path: Path, rabbitmq: Rabbit, vhost_url: str
) -> None:
    made = make_state(tmp_path, vhost_url)
    made.topology.apply(vhost_url)
    fail_one(made)
    vhost = vhost_url.rpartition("/")[2]
    rabbitmq.delete_vhost(vhost)
    publisher = EventPublisher(made)
    assert publisher.turn() == 0
    assert states(made) == {"pending"}
    rabbitmq.add_vhost(vhost)
    made.topology.apply(vhost_url)
    with made.database.begin() as connection:
        now = made.database.now(connection)
        connection.execute(update(messages).values(next_try_at=now))
    assert publisher.turn() == 2
    publisher.close()
    assert states(made) == {"sent"}
    made.database.dispose()


def _wait_for_queue(url: str, name: str) -> None:
    pause = threading.Event()
    with Connection(url) as broker:
        for _ in range(100):
            try:
                broker.channel().queue_declare(name, passive=True)
            except broker.channel_errors:
                pause.wait(0.1)
            else:
                return
    raise AssertionError(f"no queue {name}")


def _line_within(stream: Any, *, seconds: float) -> str:
    found: list[str] = []
    reader = threading.Thread(target=lambda: found.append(stream.readline()))
    reader.daemon = True
    reader.start()
    reader.join(seconds)
    assert found, "the consumer said nothing"
    return found[0]
