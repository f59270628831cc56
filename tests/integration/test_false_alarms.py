"""A healthy system under rolling restarts alarms nobody; without beats it does.

``METRONOME_TEST_HEALTHY_SECONDS`` says for how long (40); its control is in the same
test, on the same processes: the same monitors must be able to alarm.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from healthy import GOOD, Healthy
from rabbit import Rabbit
from receivers import HookServer

SECONDS = float(os.environ.get("METRONOME_TEST_HEALTHY_SECONDS", "40"))


@pytest.fixture
def hooks() -> Iterator[HookServer]:
    server = HookServer("known to both")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def healthy(
    own_rabbitmq: Rabbit, database_url: str, hooks: HookServer, tmp_path: Path
) -> Iterator[Healthy]:
    made = Healthy(
        broker_url=own_rabbitmq.url,
        database_url=database_url,
        folder=tmp_path,
        rabbit=own_rabbitmq,
        hook_url=hooks.url,
    )
    try:
        yield made
    finally:
        made.stop()


def test_restarts_alarm_nobody_and_dead_beats_do(
    healthy: Healthy, hooks: HookServer
) -> None:
    healthy.begin()
    turns = healthy.disturb(SECONDS)
    found = healthy.settle()
    healthy.until(healthy.judged, "the last runs to be judged")
    retried = sum(run.retries for run in found)
    print(f"\n{turns} restarts, {len(found)} runs, {retried} retries: no alarm")
    assert healthy.alarms() == {}, healthy.what_went_wrong()
    assert hooks.found == []
    assert {run.state for run in found} <= GOOD
    assert retried > 0

    # the control: these monitors tell of it when no beat is there
    for beat in healthy.beats:
        healthy.end(beat, signal.SIGKILL)
    healthy.add("canary", "clock.default", grace_seconds=1)
    healthy.until(lambda: len(hooks.found) == 1, "the alarm")
    assert hooks.types == ["incident.opened"]
    assert set(healthy.alarms()) == {"missed", "incidents", "notices"}
