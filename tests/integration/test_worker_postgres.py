"""Claims, ends and results on PostgreSQL, with many workers at once."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select
from worker_site import Site

from flask_metronome.core.claim import Delivery, Verdict
from flask_metronome.core.ending import Ending
from flask_metronome.core.run import AttemptState
from flask_metronome.database import Database
from flask_metronome.models import attempts, results, runs
from flask_metronome.settings import Settings
from flask_metronome.store.ledger import Ledger
from flask_metronome.store.results import Result

DELIVERY = Delivery(
    run_id="",
    task="t",
    retries=0,
    redelivered=False,
    worker="celery@one",
    worker_id="00000000-0000-4000-8000-000000000000",
    pid=1,
)


@pytest.fixture
def site(database_url: str, tmp_path: Path) -> Any:
    made = Site(
        broker_url="amqp://127.0.0.1:1//",
        database=Database(database_url, pool_size=8),
        database_url=database_url,
        folder=tmp_path,
    )
    yield made
    made.stop()


@pytest.fixture
def ledger(site: Site) -> Ledger:
    settings = Settings(data_dir=site.folder, database_url=site.database_url)
    return Ledger(site.database, settings)


def test_one_of_many_workers_gets_a_run(site: Site, ledger: Ledger) -> None:
    run_ids = [site.add_run("t") for _ in range(10)]
    with ThreadPoolExecutor(8) as pool:
        made = list(
            pool.map(lambda r: ledger.claim(replace(DELIVERY, run_id=r)), run_ids * 4)
        )
    assert Counter(c.verdict for c in made)[Verdict.CLAIM] == 10
    with site.database.read() as c:
        assert c.execute(select(func.count()).select_from(attempts)).scalar() == 10


def test_one_of_many_runs_gets_the_key(site: Site, ledger: Ledger) -> None:
    """All at once: the unique index decides what the look before cannot."""
    run_ids = [
        site.add_run("t", concurrency_key="k", exclusive=True) for _ in range(12)
    ]
    with ThreadPoolExecutor(8) as pool:
        made = list(
            pool.map(lambda r: ledger.claim(replace(DELIVERY, run_id=r)), run_ids)
        )
    assert Counter(c.verdict for c in made) == {Verdict.CLAIM: 1, Verdict.OVERLAP: 11}
    with site.database.read() as c:
        states = Counter(c.execute(select(runs.c.state)).scalars())
    assert states == {"started": 1, "skipped": 11}


def test_ends_and_results_count_once(site: Site, ledger: Ledger) -> None:
    run_id = site.add_run("t")
    fence = ledger.claim(replace(DELIVERY, run_id=run_id)).fence

    def end(n: int) -> bool:
        state = AttemptState.SUCCEEDED if n % 2 else AttemptState.FAILED
        return ledger.write(
            ending=Ending(run_id=run_id, retries=0, state=state, fence=fence),
            result=Result(
                task_id=run_id,
                status="SUCCESS" if n % 2 else "FAILURE",
                done=True,
                result=str(n).encode(),
            ),
        )

    with ThreadPoolExecutor(8) as pool:
        counted = list(pool.map(end, range(16)))
    assert counted.count(True) == 1
    winner = counted.index(True)
    with site.database.read() as c:
        row = c.execute(select(results)).one()
    assert row.result == str(winner).encode()
    assert site.run(run_id).state == ("succeeded" if winner % 2 else "failed")
    assert not ledger.spool.is_waiting()


def test_a_worker_on_postgresql(site: Site, vhost_url: str) -> None:
    site.broker_url = vhost_url
    site.reconnect()
    site.start_worker()
    good, flaky = site.send("t.succeed", 1), site.send("t.flaky", 2)
    plain = site.celery.send_task("t.fail")
    assert site.ended(good).state == "succeeded"
    assert (site.ended(flaky).state, site.run(flaky).retries) == ("succeeded", 2)
    assert site.result(good).get(timeout=60)["value"] == 1
    with pytest.raises(ValueError, match="no luck"):
        plain.get(timeout=60)
