"""The soak's checker finds what it is there to find: deterministic controls.

One worker is paused past its lease and wakes when another has run its run; a
message comes twice while its body runs. Recorded as the product does it, every
outcome is true; recorded in another way, the same checker says what is not.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from soak_account import Account, Body, Fault
from sqlalchemy import select, update
from worker_site import Site

from flask_metronome.core.claim import Delivery, Verdict
from flask_metronome.core.ending import Ending
from flask_metronome.core.run import AttemptState
from flask_metronome.database import Database
from flask_metronome.models import attempts, results, runs
from flask_metronome.settings import Settings
from flask_metronome.store import results as result_store
from flask_metronome.store import workers
from flask_metronome.store.claims import Claim
from flask_metronome.store.ledger import Ledger
from flask_metronome.store.results import Result
from flask_metronome.store.workers import WorkerBeat

PAUSED, AWAKE = "00000000-0000-4000-8000-00000000000a", "b" * 36
PIDS = {PAUSED: 11, AWAKE: 22}
LEASE_SECONDS = 1.0


class LastWriteWins(Ledger):
    """Celery's own way: whoever writes last is right."""

    def write(self, *, ending: Any = None, result: Any = None, **more: Any) -> bool:
        super().write(ending=ending, result=result, **more)
        with self._database.begin() as c:
            now = self._database.now(c)
            c.execute(update(results).values(status=""))
            result_store.store(c, result, now=now)
        return True


class WithoutFence(Ledger):
    """A result counts whoever brings it, if the run is still open."""

    def write(self, *, ending: Any = None, result: Any = None, **more: Any) -> bool:
        with self._database.read() as c:
            held = select(runs.c.fence).where(runs.c.id == ending.run_id)
            fence = c.execute(held).scalar_one()
        return super().write(ending=replace(ending, fence=fence), result=result)


class YesToAll(Ledger):
    """No claim: every delivery runs."""

    def claim(self, delivery: Delivery) -> Claim:
        found = super().claim(delivery)
        if found.verdict is Verdict.CLAIM:
            return found
        with self._database.read() as c:
            held = select(runs.c.fence).where(runs.c.id == delivery.run_id)
            fence = c.execute(held).scalar_one()
        return Claim(verdict=Verdict.CLAIM, fence=fence + 1)


class Forgetful(Ledger):
    """What a redelivery finds is begun again, whoever may still be at it."""

    def claim(self, delivery: Delivery) -> Claim:
        with self._database.begin() as c:
            mine = attempts.c.task_id == delivery.run_id
            c.execute(update(attempts).where(mine).values(state="lost"))
            c.execute(update(runs).values(on_lost="rerun"))
        return super().claim(delivery)


class Script:
    """Two workers, by hand: what they claim, run and report."""

    def __init__(self, site: Site, ledger: Ledger) -> None:
        self.site, self.ledger = site, ledger
        self.bodies: list[Body] = []
        self.now = 100.0
        self.faults = [
            Fault(kind="stop", pids=frozenset({11}), began=101.0, ended=109.0)
        ]
        self.beats = {11: [100.0, 109.0]}

    def beat(self, worker_id: str, ago: float = 0.0) -> None:
        said = WorkerBeat(
            id=worker_id, hostname="w", pid=1, version="1", lanes=[], active=[]
        )
        with self.site.database.begin() as c:
            now = self.site.database.now(c) - timedelta(seconds=ago)
            workers.heartbeat(c, said, now=now)

    def deliver(self, run_id: str, worker_id: str) -> Body | None:
        """A message comes: the body that begins, if the claim lets it."""
        self.now += 1
        claim = self.ledger.claim(
            Delivery(
                run_id=run_id, task="soak.late", retries=0, redelivered=True,
                worker="w", worker_id=worker_id, pid=PIDS[worker_id],
            )
        )  # fmt: skip
        if claim.verdict is not Verdict.CLAIM:
            return None
        begun = Body(
            run=run_id, fence=claim.fence, retries=0, pid=PIDS[worker_id],
            parent=1, began=self.now,
        )  # fmt: skip
        self.bodies.append(begun)
        return begun

    def end(self, body: Body | None) -> None:
        """It returns, and its worker tells of it."""
        if body is None:
            return
        self.now += 1
        body.ended, body.how = self.now, "return"
        body.nonce = f"of {body.fence}"
        said = json.dumps({"nonce": body.nonce}).encode()
        self.ledger.write(
            ending=Ending(
                run_id=body.run, retries=0, state=AttemptState.SUCCEEDED,
                fence=body.fence, runtime_seconds=1.0,
            ),
            result=Result(task_id=body.run, status="SUCCESS", done=True, result=said),
        )  # fmt: skip

    def account(self) -> Account:
        with self.site.database.read() as c:
            return Account(
                runs=c.execute(select(runs)).all(),
                attempts=c.execute(select(attempts)).all(),
                results={row.task_id: row for row in c.execute(select(results))},
                bodies=self.bodies,
                faults=self.faults,
                beats=self.beats,
                lease_seconds=LEASE_SECONDS,
            ).check()


def wake_first(script: Script) -> None:
    """A worker paused past its lease wakes before the other's body ends."""
    first, second = overtaken(script)
    script.end(first)
    script.end(second)


def wake_last(script: Script) -> None:
    """It wakes when all is over."""
    first, second = overtaken(script)
    script.end(second)
    script.end(first)


def overtaken(script: Script) -> tuple[Body | None, Body | None]:
    """A body whose worker is paused past its lease, and the one that follows."""
    run_id = script.site.add_run("soak.late", on_lost="rerun")
    first = script.deliver(run_id, PAUSED)
    script.beat(PAUSED, ago=60)
    script.now += 5
    return first, script.deliver(run_id, AWAKE)


def deliver_twice(script: Script) -> None:
    """The connection is lost and the message comes again while the body runs."""
    run_id = script.site.add_run("soak.late")
    script.faults, script.beats = [], {11: [100.0, 101.0, 102.0, 103.0, 104.0, 105.0]}
    script.beat(PAUSED)
    first = script.deliver(run_id, PAUSED)
    second = script.deliver(run_id, AWAKE)
    script.end(first)
    script.end(second)


@pytest.fixture
def site(database_url: str, tmp_path: Path) -> Iterator[Site]:
    made = Site(
        broker_url="amqp://127.0.0.1:1//",
        database=Database(database_url),
        database_url=database_url,
        folder=tmp_path,
    )
    yield made
    made.stop()


def judged(site: Site, kind: type[Ledger], scene: Any) -> list[str]:
    settings = Settings(
        data_dir=site.folder,
        database_url=site.database_url,
        lease_seconds=LEASE_SECONDS,
    )
    script = Script(site, kind(site.database, settings))
    scene(script)
    return script.account().findings


@pytest.mark.parametrize("scene", [wake_first, wake_last, deliver_twice])
def test_the_product_records_the_truth(site: Site, scene: Any) -> None:
    assert judged(site, Ledger, scene) == []


@pytest.mark.parametrize(
    ("kind", "scene", "said"),
    [
        (LastWriteWins, wake_last, "has the result of 1 of another body"),
        (WithoutFence, wake_first, "has the result of 1 of another body"),
        (YesToAll, deliver_twice, "a body ran with fence 2, without an attempt"),
        (Forgetful, deliver_twice, "fence 2 began at"),
    ],
)
def test_another_way_of_recording_is_found_out(
    site: Site, kind: type[Ledger], scene: Any, said: str
) -> None:
    found = judged(site, kind, scene)
    assert any(said in finding for finding in found), found
