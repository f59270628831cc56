"""Runs that are asked for, by several at once, on PostgreSQL."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from sqlalchemy import func, select

from flask_metronome import Definition, every, schema
from flask_metronome.database import Database
from flask_metronome.models import runs
from flask_metronome.store import requests
from flask_metronome.store import schedules as schedule_store

AT_ONCE = 6
KEYS = 10


def test_one_key_asked_for_by_many_at_once_is_one_run(database_url: str) -> None:
    database = Database(database_url, pool_size=AT_ONCE)
    schema.init_db(database)
    definition = Definition(key="k", task="t", cadence=every(1, "hours"))
    with database.begin() as connection:
        now = datetime.now(UTC)
        schedule_store.add(connection, definition, owner="api", who="t", now=now)
    together = threading.Barrier(AT_ONCE)

    def ask(_: int) -> list[str]:
        made = []
        for number in range(KEYS):
            together.wait(30)
            with database.begin() as connection:
                made.append(
                    requests.trigger(
                        connection,
                        "k",
                        idempotency_key=str(number),
                        who="t",
                        now=database.now(connection),
                    )
                )
        return made

    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(ask, range(AT_ONCE)))
    with database.read() as connection:
        count = connection.execute(select(func.count()).select_from(runs)).scalar()
    database.dispose()
    assert all(answer == answers[0] for answer in answers)
    assert count == KEYS
