"""Many faults on real PostgreSQL and RabbitMQ, and controls that must fail."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from clockwork import Clockwork
from drill import Drill
from fault_points import claim_due, record_published
from faults import fill, make_room, unbind
from rabbit import Rabbit

from flask_metronome import publishing
from flask_metronome.store import outbox, ticks

FAULTS = int(os.environ.get("METRONOME_TEST_FAULTS_COUNT", "200"))
FAULTS_OF_A_CONTROL = 40
Begin = Callable[..., Drill]


@pytest.fixture
def begin(
    vhost_url: str,
    database_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Begin]:
    monkeypatch.setattr(ticks, "_claim_due", claim_due)
    monkeypatch.setattr(outbox, "record_published", record_published)
    monkeypatch.setattr(publishing, "POLL_SECONDS", 0.0)
    monkeypatch.setattr(publishing, "LONGEST_BACKOFF_SECONDS", 0.0)
    with ExitStack() as stack:

        def start(variant: str = "") -> Drill:
            clockwork = Clockwork(
                broker_url=vhost_url, database_url=database_url, folder=tmp_path
            )
            stack.callback(clockwork.stop)
            drill = Drill(clockwork, variant)
            stack.callback(drill.close)
            return drill

        yield start


def test_faults_lose_nothing_and_start_nothing_twice(begin: Begin) -> None:
    drill = begin()
    drill.run(FAULTS)
    verdict = drill.verdict()
    print(f"\n{verdict}")
    assert sum(verdict.faults.values()) >= FAULTS
    assert len(verdict.faults) >= 9, "each kind of fault must have happened"
    assert (verdict.lost, verdict.unexpected) == (frozenset(), frozenset())
    assert verdict.started_twice == 0
    assert verdict.doubled_on_the_wire > 0, "the claim had nothing to do"


def test_what_the_broker_returned_or_refused_is_delivered_in_the_end(
    begin: Begin, rabbitmq: Rabbit, vhost_url: str
) -> None:
    drill, vhost = begin(), vhost_url.rpartition("/")[2]
    unbind(rabbitmq, vhost)
    drill.turn_until("returned")
    fill(rabbitmq, vhost)
    drill.turn_until("nacked")
    make_room(rabbitmq, vhost)
    verdict = drill.verdict()
    assert verdict.expected >= 2
    assert (verdict.lost, verdict.unexpected) == (frozenset(), frozenset())
    assert verdict.started_twice == 0


@pytest.mark.parametrize("variant", ["two_transactions", "unknown_is_published"])
def test_the_checker_finds_what_a_wrong_beat_loses(begin: Begin, variant: str) -> None:
    drill = begin(variant)
    drill.run(FAULTS_OF_A_CONTROL)
    verdict = drill.verdict()
    print(f"\n{variant}: {verdict}")
    assert verdict.lost
