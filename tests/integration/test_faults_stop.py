"""Beats that stand still, and beats that are told to stop when nothing answers."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from clockwork import Clockwork, gaps
from faults import Faulty
from proxy import Proxy

from flask_metronome.beat import Ticker
from flask_metronome.state import state_of

#: It takes one to five seconds; this is to tell it from «hangs» on any machine.
STOP_SECONDS = 20.0
#: PostgreSQL gives a session that stands still in a transaction so long.
FENCE_SECONDS = 5.0


@pytest.fixture
def clockwork(vhost_url: str, database_url: str, tmp_path: Path) -> Iterator[Clockwork]:
    made = Clockwork(broker_url=vhost_url, database_url=database_url, folder=tmp_path)
    yield made
    made.stop()


def test_a_paused_beat_gives_up_its_rows_and_its_late_commit_is_refused(
    clockwork: Clockwork,
) -> None:
    still = FENCE_SECONDS + 6
    config = {
        "beats": 1,
        "stops": 1,
        "stop": {"before_commit": 1.0},
        "stopped_seconds": [still, still],
    }
    faulty = Faulty(clockwork=clockwork, config=config)
    faulty.start()
    clockwork.add("k", "clock.default")
    clockwork.until(lambda: _moment(faulty, "stop") is not None, "the beat to stop")
    stopped_at = _moment(faulty, "stop") or 0.0
    state = state_of(clockwork.client())
    other = Ticker(state.database, state.settings, "other")
    try:
        other.tick()
        assert clockwork.runs() == [], "the paused beat holds the schedule's row"
        clockwork.until(lambda: other.tick()[0].planned > 0, "the row to fall free")
        took = time.monotonic() - stopped_at
        assert took > FENCE_SECONDS - 1
        assert _moment(faulty, "woken") is None, "it fell free only with the beat"
    finally:
        state.database.dispose()
    planned = {run.id for run in clockwork.runs()}
    clockwork.until(lambda: _moment(faulty, "refused") is not None, "the refusal")
    assert (_moment(faulty, "refused") or 0.0) - stopped_at >= still - 0.1
    clockwork.until(lambda: len(clockwork.runs()) >= len(planned) + 2, "it to go on")
    found = clockwork.runs()
    assert gaps(found, 1) == []
    assert len({run.due_at for run in found}) == len(found)
    assert planned < {run.id for run in found}


def _moment(faulty: Faulty, kind: str) -> float | None:
    return next((float(words[3]) for words in faulty.log() if words[0] == kind), None)


def test_beats_stop_whatever_does_not_answer(
    clockwork: Clockwork,
) -> None:
    for number in range(8):
        clockwork.add(f"k{number}", "clock.default")
    with (
        closing(Proxy(clockwork.broker_url)) as frozen_broker,
        closing(Proxy(clockwork.broker_url)) as no_broker,
        closing(Proxy(clockwork.database_url)) as frozen_database,
        closing(Proxy(clockwork.database_url)) as no_database,
    ):
        beats = {
            "all well": clockwork.beat(),
            "broker frozen": clockwork.beat(METRONOME_BROKER_URL=frozen_broker.url),
            "broker away": clockwork.beat(METRONOME_BROKER_URL=no_broker.url),
            "database frozen": clockwork.beat(
                METRONOME_DATABASE_URL=frozen_database.url
            ),
            "database away": clockwork.beat(METRONOME_DATABASE_URL=no_database.url),
        }
        clockwork.until(lambda: len(clockwork.runs()) >= 16, "runs")
        frozen_broker.freeze()
        frozen_database.freeze()
        no_broker.go_away()
        no_database.go_away()
        starting = clockwork._start(
            *("beat", "beat", "-S", "metronome"),
            METRONOME_DATABASE_URL=frozen_database.url,
        )
        time.sleep(4)
        took = {"starting": _stop(starting)}
        took |= {name: _stop(process) for name, process in beats.items()}
    print(f"\nstopped after {took}")
    assert max(took.values()) < STOP_SECONDS, took
    # it may not have come to hear signals yet
    assert starting.returncode in (0, -signal.SIGTERM)
    codes = {name: process.returncode for name, process in beats.items()}
    assert codes == dict.fromkeys(beats, 0), clockwork.last_words()


def _stop(process: subprocess.Popen[bytes]) -> float:
    """Seconds from SIGTERM to the end."""
    began = time.monotonic()
    process.terminate()
    process.wait(60)
    return round(time.monotonic() - began, 2)
