"""The same product on MariaDB: migrations, edits by hand, beats, the whole path."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from clockwork import Clockwork, gaps
from flask import Flask
from hand_edits import check_hand_edits
from mariadb import find_mariadb, running_mariadb
from page_reads import assert_reads
from seeded_shop import LANES, seed
from seeded_troubles import seed_troubles
from sqlalchemy import delete, make_url, select, update
from upgraded_counters import check_last_starts, check_triggers

from flask_metronome import Definition, Metronome, every, schema
from flask_metronome.beat import Ticker
from flask_metronome.database import Database
from flask_metronome.models import metadata, runs, schedules
from flask_metronome.settings import Settings
from flask_metronome.state import state_of
from flask_metronome.store import schedules as schedule_store
from flask_metronome.testing import SettableClock

BEATS = 4
START = datetime.fromisoformat("2026-01-01T12:00:00Z")


@pytest.fixture(scope="module")
def mariadb_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if find_mariadb() is None:
        missing = "no MariaDB to test against: install mariadb-server"
        # a laptop need not have a third database; CI must
        (pytest.fail if os.environ.get("CI") else pytest.skip)(missing)
    with running_mariadb(tmp_path_factory.mktemp("mariadb")) as url:
        yield url


@pytest.fixture
def database(mariadb_url: str) -> Iterator[Database]:
    made = Database(mariadb_url)
    schema.init_db(made)
    yield made
    with made.begin() as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(delete(table))
    made.dispose()


def test_four_at_once_make_the_tables(database: Database, mariadb_url: str) -> None:
    with database.begin() as connection:
        connection.exec_driver_sql("DROP DATABASE IF EXISTS empty")
        connection.exec_driver_sql("CREATE DATABASE empty")
    url = make_url(mariadb_url).set(database="empty")
    four = [Database(url.render_as_string(hide_password=False)) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        versions = set(pool.map(schema.init_db, four))
    assert versions == {schema.head()}
    for each in four:
        each.dispose()


def add(database: Database, key: str, now: datetime, seconds: float = 1) -> None:
    definition = Definition(
        key=key, task="t", cadence=every(seconds, "seconds"), overlap="allow"
    )
    with database.begin() as connection:
        schedule_store.add(connection, definition, owner="api", who="t", now=now)


def test_a_cadence_edited_by_hand_is_aimed_anew(database: Database) -> None:
    add(database, "slow", START, seconds=3600)
    with database.begin() as connection:
        connection.execute(
            update(schedules).values(cadence=every(5, "seconds").to_dict())
        )
    with database.read() as connection:
        row = connection.execute(
            select(schedules.c.next_due_at, schedules.c.revision)
        ).one()
    assert tuple(row) == (None, 2)


def test_an_edit_by_hand_does_what_any_edit_does(database: Database) -> None:
    check_hand_edits(database)


def test_what_was_counted_goes_up_and_down(database: Database) -> None:
    check_triggers(database)
    check_last_starts(database)


def test_four_beats_at_once_decide_each_due_time_once(
    database: Database, mariadb_url: str, tmp_path: Path
) -> None:
    clock = SettableClock(START)
    for number in range(40):
        add(database, f"k{number}", START)
    settings = Settings(data_dir=tmp_path, database_url=mariadb_url, beat_batch=7)
    clock.tick(20)

    def beat(name: str) -> None:
        own = Database(mariadb_url, clock=clock)
        ticker = Ticker(own, settings, name)
        while ticker.tick()[0].full:
            pass
        own.dispose()

    threads = [threading.Thread(target=beat, args=(f"b{n}",)) for n in range(BEATS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    # whoever found every row locked by another stopped early: finish alone
    beat("last")
    with database.read() as connection:
        found = connection.execute(select(runs.c.schedule_key, runs.c.due_at)).all()
    counted = Counter(tuple(row) for row in found)
    expected = {
        (f"k{number}", START + timedelta(seconds=second))
        for number in range(40)
        for second in range(1, 21)
    }
    assert set(counted) == expected
    assert set(counted.values()) == {1}


def test_the_whole_path(
    database: Database, mariadb_url: str, vhost_url: str, tmp_path: Path
) -> None:
    clockwork = Clockwork(
        broker_url=vhost_url, database_url=mariadb_url, folder=tmp_path
    )
    try:
        clockwork.add("steady", "clock.default")
        clockwork.add("flaky", "clock.flaky", seconds=4)
        clockwork.worker()
        clockwork.beat()
        clockwork.until(lambda: len(clockwork.lines()) >= 6, "six bodies")
        found = clockwork.settle()
    finally:
        clockwork.stop()
    work = [run for run in found if run.state != "skipped"]
    assert {run.state for run in work} == {"succeeded"}
    assert gaps([run for run in work if run.schedule_key == "steady"], 1) == []
    assert {r.retries for r in work if r.schedule_key == "flaky"} == {2}
    assert set(clockwork.bodies().values()) == {1}


def test_every_read_works_on_mariadb(
    database: Database, mariadb_url: str, tmp_path: Path
) -> None:
    app = Flask("shop", instance_path=str(tmp_path))
    app.config["METRONOME_DATABASE_URL"] = mariadb_url
    app.config["METRONOME_LANES"] = ",".join(LANES)
    Metronome(app)
    with database.begin() as connection:
        seed(connection, datetime.now(UTC))
        seed_troubles(connection, datetime.now(UTC))

    try:
        assert_reads(app.test_client())
    finally:
        state_of(app).loop.stop()
        state_of(app).database.dispose()
