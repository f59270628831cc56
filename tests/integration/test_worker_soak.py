"""Workers and their children are killed, stopped and cut off: every run ends truly."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from soak import LEASE_SECONDS, Soak
from worker_site import Site

from flask_metronome.database import Database

#: How long faults are made, and where they begin; a drill has 600 seconds.
SECONDS = float(os.environ.get("METRONOME_TEST_SOAK_SECONDS", "15"))
LEAST_FAULTS = 5
SEED = int(os.environ.get("METRONOME_TEST_SOAK_SEED", "1"))


@pytest.fixture
def site(vhost_url: str, database_url: str, tmp_path: Path) -> Iterator[Site]:
    made = Site(
        broker_url=vhost_url,
        database=Database(database_url),
        database_url=database_url,
        folder=tmp_path,
        settings={
            "METRONOME_LEASE_SECONDS": str(LEASE_SECONDS),
            "METRONOME_MONITOR_SECONDS": "1",
            "METRONOME_DATABASE_TIMEOUT_SECONDS": "3",
            "METRONOME_CLAIM_WAIT_SECONDS": "10",
        },
    )
    yield made
    made.stop()


def test_every_run_ends_once_and_truly(site: Site, postgres: Any) -> None:
    soak = Soak(site=site, seed=SEED, freeze=freezer(postgres))
    try:
        soak.start()
        feeder = soak.feed(0.2)
        soak.torment(SECONDS, 1.0, LEAST_FAULTS)
        soak.settle()
        feeder.join(10)
        account = soak.account()
    finally:
        soak.close()
    bodies = len(account.bodies)
    said = (
        f"\nfaults {dict(sorted(soak.counts.items()))}; "
        f"{len(account.runs)} runs {dict(account.outcomes().most_common())}; "
        f"{len(account.attempts)} attempts, {bodies} bodies; "
        f"excused {dict(account.excused)}; {len(account.findings)} false"
    )
    print(said)
    (site.folder / "verdict").write_text("\n".join([said, *account.findings]))
    assert not account.findings, "\n".join([said, *account.findings[:40]])
    assert len(account.runs) >= LEAST_FAULTS, said


def freezer(postgres: Any) -> Callable[[bool], bool] | None:
    """Pauses the server's container and has it go on."""
    container = postgres.container
    if container is None:
        return None

    def freeze(frozen: bool) -> bool:
        command = ["docker", "pause" if frozen else "unpause", container]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        # a busy kernel may refuse to freeze it; it must go on again
        assert frozen or done.returncode == 0, done.stderr
        return done.returncode == 0

    return freeze
