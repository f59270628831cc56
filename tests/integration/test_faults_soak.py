"""Four beats, processes and broker failing: nothing lost, nothing started twice."""

from __future__ import annotations

import os
import time
from pathlib import Path

from clockwork import Clockwork
from faults import POINTS, Faulty
from rabbit import Rabbit

#: Faults to inject, and the longest time to do it in, seconds.
FAULTS = int(os.environ.get("METRONOME_TEST_FAULTS_COUNT", "250"))
SECONDS = float(os.environ.get("METRONOME_TEST_FAULTS_SECONDS", "20"))

RATES = {
    "kill": dict.fromkeys(POINTS, 0.02),
    "stop": dict.fromkeys(POINTS, 0.005),
    "database": {"before_commit": 0.1, "after_commit": 0.1},
    "wire": {"before_send": 0.03, "before_confirm": 0.03},
}


def test_faults_of_beats_and_broker_lose_nothing_and_start_nothing_twice(
    own_rabbitmq: Rabbit, database_url: str, tmp_path: Path
) -> None:
    clockwork = Clockwork(
        broker_url=own_rabbitmq.url, database_url=database_url, folder=tmp_path
    )
    faulty = Faulty(clockwork=clockwork, config=RATES)
    try:
        clockwork.worker()
        process = faulty.start()
        faulty.add_schedules(16)
        _misfortunes_of_the_broker(faulty, own_rabbitmq)
        faulty.end_faults(process)
        verdict = faulty.verdict()
        said = f"{verdict}; {dict(faulty.outcomes())}"
        print(f"\n{said}")
        (tmp_path / "verdict").write_text(said)
        log = faulty.log()
        assert not [line for line in log if line[0] == "crashed"], said
        assert {w[0] for w in log} >= {"kill", "stop", "database", "wire"}, said
        assert verdict.expected > 300, said
        assert not verdict.lost, said
        assert not verdict.unexpected, said
        assert verdict.started_twice == 0, said
        assert faulty.outcomes().keys() >= {"unknown"}, said
    finally:
        clockwork.stop()


def _misfortunes_of_the_broker(faulty: Faulty, broker: Rabbit) -> None:
    began = time.monotonic()
    faulty.wait_for(100, 15)
    faulty.close_connections(broker, "/")
    faulty.wait_for(150, 3)
    faulty.unbind(broker, "/")
    faulty.wait_for(200, 3)
    faulty.refuse(broker, "/", 1.5)
    faulty.freeze(broker, 3)
    faulty.alarm(broker, 3)
    faulty.restart(broker)
    faulty.unbind(broker, "/")
    faulty.close_connections(broker, "/")
    faulty.wait_for(FAULTS, SECONDS - (time.monotonic() - began))
