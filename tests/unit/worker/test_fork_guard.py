"""A pool process forked while another thread writes must be able to write."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest
from sqlalchemy import text

from flask_metronome import fork_guard
from flask_metronome.database import Database


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_fork_waits_for_the_transaction_of_another_thread(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'm.sqlite'}", timeout_seconds=0.3)
    with database.begin() as c:
        c.execute(text("CREATE TABLE t (n INTEGER)"))
    inside, go_on = threading.Event(), threading.Event()

    def write() -> None:
        with database.begin() as c:
            c.execute(text("INSERT INTO t VALUES (1)"))
            inside.set()
            go_on.wait(5)

    writer = threading.Thread(target=write)
    writer.start()
    assert inside.wait(5)
    threading.Timer(0.2, go_on.set).start()
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            with database.begin() as c:
                c.execute(text("INSERT INTO t VALUES (2)"))
            code = 0
        finally:
            os._exit(code)
    waited = time.monotonic() - began
    _, status = os.waitpid(child, 0)
    writer.join(5)
    assert os.waitstatus_to_exitcode(status) == 0
    assert waited > 0.1
    with database.read() as c:
        assert c.execute(text("SELECT count(*) FROM t")).scalar() == 2
    database.dispose()


def test_a_thread_may_fork_inside_its_own_transaction() -> None:
    began = time.monotonic()
    with fork_guard.no_fork(), fork_guard.no_fork():
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
    assert time.monotonic() - began < 4
