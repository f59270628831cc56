"""A PostgreSQL that stands still is given up in time."""

from __future__ import annotations

import time
from contextlib import closing

import pytest
from proxy import Proxy
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from flask_metronome.bounded_postgres import MARGIN_SECONDS
from flask_metronome.database import Database, is_disconnect

TIMEOUT_SECONDS = 1.0


def test_a_frozen_server_holds_nobody_longer_than_the_deadline(
    database_url: str,
) -> None:
    with closing(Proxy(database_url)) as proxy:
        database = Database(proxy.url, timeout_seconds=TIMEOUT_SECONDS)
        with database.read() as connection:
            assert connection.execute(text("SELECT 1")).scalar_one() == 1
        began = 0.0

        def ask_the_frozen() -> None:
            nonlocal began
            with database.begin() as connection:
                connection.execute(text("SELECT 1"))
                proxy.freeze()
                began = time.monotonic()
                connection.execute(text("SELECT 2"))

        with pytest.raises(
            OperationalError, match="did not answer within 3 s"
        ) as caught:
            ask_the_frozen()
        waited = time.monotonic() - began
        assert is_disconnect(caught.value)
        assert TIMEOUT_SECONDS + MARGIN_SECONDS <= waited < 10
        database.dispose()


def test_a_slow_statement_is_ended_by_the_server_and_costs_no_connection(
    database_url: str,
) -> None:
    database = Database(database_url, timeout_seconds=TIMEOUT_SECONDS)
    with (
        database.read() as connection,
        pytest.raises(OperationalError, match="statement timeout"),
    ):
        connection.execute(text("SELECT pg_sleep(5)"))
    with database.read() as connection:
        assert connection.execute(text("SELECT 1")).scalar_one() == 1
    database.dispose()
