"""One loop a process: contexts, deadlines, forks, and a clean end."""

from __future__ import annotations

import asyncio
import contextvars
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask, g, request
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from flask_metronome.async_loop import LoopThread
from flask_metronome.errors import DeadlineExceeded, SettingInvalid


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[LoopThread]:
    loop = LoopThread(f"sqlite:///{tmp_path / 'loop.sqlite'}", timeout_seconds=5)
    yield loop
    loop.stop()


async def _thread() -> threading.Thread:
    return threading.current_thread()


def test_all_calls_share_one_daemon_thread(loop: LoopThread) -> None:
    first, second = loop.run(_thread()), loop.run(_thread())

    assert first is second
    assert first is not threading.current_thread()
    assert first.daemon


def test_concurrent_callers_wait_beside_each_other(loop: LoopThread) -> None:
    arrived: list[int] = []
    everyone = asyncio.Event()

    async def meet(number: int) -> None:
        arrived.append(number)
        if len(arrived) == 8:
            everyone.set()
        await everyone.wait()

    threads = [threading.Thread(target=lambda n=n: loop.run(meet(n))) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)

    assert not any(thread.is_alive() for thread in threads)
    assert sorted(arrived) == list(range(8))


def test_context_variables_are_seen_and_do_not_travel_back(loop: LoopThread) -> None:
    word = contextvars.ContextVar("word", default="unset")
    word.set("mine")

    async def change() -> str:
        seen = word.get()
        word.set("changed")
        return seen

    assert loop.run(change()) == "mine"
    assert word.get() == "mine"


def test_flask_request_and_g_work_inside(loop: LoopThread) -> None:
    app = Flask(__name__)

    async def view() -> str:
        await asyncio.sleep(0)
        g.note = "noted"
        return f"{request.path} {g.note}"

    with app.test_request_context("/here"):
        assert loop.run(view()) == "/here noted"
        assert g.note == "noted"


def test_an_exception_comes_out_as_it_is(loop: LoopThread) -> None:
    async def fail() -> None:
        raise LookupError("not there")

    with pytest.raises(LookupError, match="not there"):
        loop.run(fail())


def test_a_deadline_cancels(loop: LoopThread) -> None:
    cancelled = threading.Event()

    async def linger() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    with pytest.raises(DeadlineExceeded, match=r"longer than 0\.05 seconds"):
        loop.run(linger(), timeout_seconds=0.05)
    assert cancelled.wait(5)


def test_the_coroutines_own_timeout_is_not_taken_for_the_deadline(
    loop: LoopThread,
) -> None:
    async def own() -> None:
        raise TimeoutError("its own")

    with pytest.raises(TimeoutError, match="its own"):
        loop.run(own())


def test_calling_from_the_loop_itself_is_refused(loop: LoopThread) -> None:
    async def inner() -> None: ...

    async def outer() -> None:
        loop.run(inner())

    with pytest.raises(RuntimeError, match="await the coroutine"):
        loop.run(outer())


def test_the_engine_belongs_to_the_loop(loop: LoopThread) -> None:
    with pytest.raises(RuntimeError, match="belongs to the loop thread"):
        _ = loop.engine


def test_the_engine_is_one_and_refuses_to_write(loop: LoopThread) -> None:
    async def engine() -> int:
        return id(loop.engine)

    async def write() -> None:
        async with loop.engine.connect() as connection:
            await connection.execute(text("CREATE TABLE t (x INTEGER)"))

    assert loop.run(engine()) == loop.run(engine())
    with pytest.raises(OperationalError, match="readonly"):
        loop.run(write())


def test_it_starts_anew_after_a_stop(loop: LoopThread) -> None:
    before = loop.run(_thread())
    loop.stop()

    after = loop.run(_thread())

    assert after is not before
    assert not before.is_alive()


def test_an_in_memory_database_is_refused() -> None:
    with pytest.raises(SettingInvalid, match="a file"):
        LoopThread("sqlite://")


_FORKING = """
import asyncio, os, sys
from flask_metronome.async_loop import LoopThread
from sqlalchemy import text

loop = LoopThread(sys.argv[1], timeout_seconds=5)

async def one():
    async with loop.engine.connect() as connection:
        return (await connection.execute(text("SELECT 1"))).scalar_one()

assert loop.run(one()) == 1
child = os.fork()
assert loop.run(one()) == 1
if child == 0:
    loop.stop()
    os._exit(7)
status = os.waitpid(child, 0)[1]
assert loop.run(one()) == 1
print("child", os.waitstatus_to_exitcode(status))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_gets_its_own_and_leaves_the_parents_alone(
    tmp_path: Path,
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _FORKING, f"sqlite:///{tmp_path / 'fork.sqlite'}"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert done.stdout == "child 7\n", done.stderr
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
