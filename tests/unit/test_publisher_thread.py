"""What a beat hands its publisher is sent in portions the broker can answer for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import func, select

from flask_metronome import Definition, Metronome, every, schema
from flask_metronome.beat import Ticker
from flask_metronome.models import runs
from flask_metronome.publishing import PublisherThread
from flask_metronome.state import State, state_of
from flask_metronome.store import outbox, schedules
from flask_metronome.testing import SettableClock
from metronome_broker import OutboundMessage, PublishReport

MANY, WINDOW = 25, 10


@dataclass
class Broker:
    """Stands for one that confirms all, or none, of a portion."""

    portions: list[list[str]] = field(default_factory=list)
    away: bool = False

    def publish(self, messages: Sequence[OutboundMessage]) -> PublishReport:
        ids = [message.run_id for message in messages]
        self.portions.append(ids)
        if self.away:
            return PublishReport(unknown=frozenset(ids), error="away")
        return PublishReport(confirmed=frozenset(ids))


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    app = Flask("app", instance_path=str(tmp_path))
    app.config.update(
        METRONOME_DATABASE_URL=f"sqlite:///{tmp_path / 'm.sqlite'}",
        METRONOME_BROKER_URL="amqp://nobody@127.0.0.1:1//",
        METRONOME_PUBLISH_WINDOW=WINDOW,
    )
    Metronome(app)
    made = state_of(app)
    made.database.clock = SettableClock()
    schema.init_db(made.database)
    yield made
    made.database.dispose()


def due(state: State) -> Ticker:
    """So many schedules that are due now."""
    with state.database.begin() as connection:
        now = state.database.now(connection)
        for number in range(MANY):
            said = Definition(key=f"k{number}", task="t", cadence=every(10))
            schedules.add(connection, said, owner="api", who="t", now=now)
    assert isinstance(state.database.clock, SettableClock)
    state.database.clock.tick(10)
    return Ticker(state.database, state.settings, "beat")


def thread_of(state: State, broker: Broker) -> PublisherThread:
    made = PublisherThread(state, "beat")
    made._publisher = broker  # type: ignore[assignment]
    return made


def in_state(state: State, name: str) -> int:
    counted = select(func.count()).where(runs.c.state == name)
    with state.database.read() as connection:
        return int(connection.execute(counted).scalar_one())


def test_much_at_once_goes_out_in_portions_of_the_window(state: State) -> None:
    """The confirm timeout is for a portion: all at once could never be confirmed."""
    broker = Broker()
    thread = thread_of(state, broker)
    thread.hand_over(due(state).tick()[0].outbox)
    thread._turn()
    assert [len(portion) for portion in broker.portions] == [10, 10, 5]
    assert len({run for portion in broker.portions for run in portion}) == MANY
    assert in_state(state, "published") == MANY


def test_what_waited_too_long_is_left_to_the_outbox(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another beat may have claimed it meanwhile: sent here, too, it came twice."""
    broker = Broker()
    thread = thread_of(state, broker)
    monkeypatch.setattr("flask_metronome.publishing._HELD_SHARE", -1.0)
    monkeypatch.setattr("flask_metronome.publishing.POLL_SECONDS", 0.0)
    thread.hand_over(due(state).tick()[0].outbox)
    thread._turn()
    assert (broker.portions, in_state(state, "planned")) == ([], MANY)


def test_while_the_broker_is_away_the_backlog_is_anyones(state: State) -> None:
    broker = Broker(away=True)
    thread = thread_of(state, broker)
    thread._pause = lambda: None  # type: ignore[method-assign]
    thread.hand_over(due(state).tick()[0].outbox)
    thread._turn()
    assert len(broker.portions) == 1
    with state.database.begin() as connection:
        now = state.database.now(connection) + timedelta(seconds=1)
        taken = outbox.claim(
            connection, now=now, owner="other", lease_seconds=30, limit=100
        )
    assert len(taken) == MANY
