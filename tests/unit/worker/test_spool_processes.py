"""The spool when processes are killed, stopped and forked, and the disk is full."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flask_metronome.flock import locked
from flask_metronome.spool import Outcome, Spool

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*multi-threaded.*fork:DeprecationWarning"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def spool(folder: Path) -> Spool:
    return Spool(folder)


def forked(work: Callable[[], object]) -> int:
    """Do something in a child process; how it ended."""
    child = os.fork()
    if not child:
        try:
            work()
        finally:
            os._exit(0)
    return os.waitpid(child, 0)[1]


def kill_oneself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def written(spool: Spool, *, most: int = 10_000) -> list[Any]:
    found: list[Any] = []

    def write(record: dict[str, Any], age_seconds: float) -> Outcome:
        found.append(record["n"])
        return "done"

    spool.replay(write, stop=lambda: len(found) >= most)
    return found


def put(folder: Path, name: str, *stamped: tuple[float, int]) -> None:
    """A file as another process would have written it."""
    folder.mkdir(exist_ok=True)
    lines = [json.dumps({"spooled": at, "record": {"n": n}}) for at, n in stamped]
    (folder / name).write_text("".join(f"{line}\n" for line in lines))


def test_records_of_all_processes_come_in_the_order_of_their_time(
    spool: Spool, folder: Path
) -> None:
    put(folder, "9.jsonl", (1.0, 1), (4.0, 4))
    put(folder, "10.jsonl", (2.0, 2), (3.0, 3))
    put(folder, "00000000000000000001-8.taken", (5.0, 5))
    assert [record["n"] for record in spool.waiting()] == [1, 2, 3, 4, 5]
    assert written(spool) == [1, 2, 3, 4, 5]


def test_what_a_killed_process_appended_is_kept(spool: Spool) -> None:
    def work() -> None:
        for n in range(5):
            spool.append({"n": n})
        kill_oneself()

    assert forked(work) == signal.SIGKILL
    assert written(spool) == [0, 1, 2, 3, 4]


def test_a_replay_that_is_killed_loses_nothing(spool: Spool) -> None:
    for n in range(5):
        spool.append({"n": n})

    def die_at_three(record: dict[str, Any], age_seconds: float) -> Outcome:
        if record["n"] == 3:
            kill_oneself()
        return "done"

    assert forked(lambda: spool.replay(die_at_three)) == signal.SIGKILL
    assert written(spool)[-2:] == [3, 4]
    assert not spool.is_waiting()


def test_a_replay_goes_on_where_it_was_stopped(spool: Spool) -> None:
    for n in range(4):
        spool.append({"n": n})
    assert written(spool, most=3) == [0, 1, 2]
    spool.append({"n": 4})
    assert written(Spool(spool._folder)) == [3, 4]


def test_many_processes_append_while_one_replays(spool: Spool) -> None:
    children = []
    for child in range(3):
        pid = os.fork()
        if not pid:
            for n in range(20):
                spool.append({"n": child * 100 + n})
            os._exit(0)
        children.append(pid)
    found: list[Any] = []
    while children:
        found += written(spool)
        done, _ = os.waitpid(-1, os.WNOHANG)
        if done:
            children.remove(done)
    found += written(spool)
    assert sorted(found) == [c * 100 + n for c in range(3) for n in range(20)]
    for child in range(3):
        mine = [n for n in found if n // 100 == child]
        assert mine == sorted(mine)


def test_a_process_stopped_in_mid_write_holds_up_nobody(
    spool: Spool, folder: Path
) -> None:
    put(folder, "1.jsonl", (1.0, 1))
    put(folder, "2.jsonl", (2.0, 2))
    with locked(folder / "1.jsonl", wait=True):
        assert written(spool) == [2]
    assert written(spool) == [1]


def test_a_forked_process_keeps_no_lock(tmp_path: Path) -> None:
    """A pool's child that is forked while another thread replays."""
    reader, writer = os.pipe()
    with locked(tmp_path / "lock", wait=True):
        child = os.fork()
        if not child:
            os.close(writer)
            os.read(reader, 1)
            os._exit(0)
    with locked(tmp_path / "lock", wait=False) as free:
        assert free is not None
    os.close(writer)
    os.close(reader)
    os.waitpid(child, 0)


def test_a_closed_handle_alone_would_keep_the_lock(tmp_path: Path) -> None:
    """The negative control of the test above."""
    reader, writer = os.pipe()
    handle = os.open(tmp_path / "lock", os.O_WRONLY | os.O_CREAT)
    fcntl.flock(handle, fcntl.LOCK_EX)
    child = os.fork()
    if not child:
        os.close(writer)
        os.read(reader, 1)
        os._exit(0)
    os.close(handle)
    with locked(tmp_path / "lock", wait=False) as free:
        assert free is None
    os.close(writer)
    os.close(reader)
    os.waitpid(child, 0)


def test_a_record_is_on_the_disk_and_so_is_its_name(
    spool: Spool, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    really = os.fsync

    def fsync(handle: int) -> None:
        is_folder = stat.S_ISDIR(os.fstat(handle).st_mode)
        synced.append("folder" if is_folder else "file")
        really(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    spool.append({"n": 1})
    assert synced == ["folder", "file", "folder"]
    spool.append({"n": 2})
    assert synced[3:] == ["file"]


def test_a_full_disk_keeps_whole_lines_and_counts(
    spool: Spool, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool.append({"n": 1})
    [file] = folder.glob("*.jsonl")
    before = file.read_bytes()
    really = os.write

    def write(handle: int, data: bytes) -> int:
        if len(data) <= 5:
            raise OSError(errno.ENOSPC, "no space left")
        return really(handle, data[:5])

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", write)
        assert not spool.append({"n": 2})
    assert file.read_bytes() == before
    assert spool.append({"n": 3})
    assert written(spool) == [1, 3]
    assert spool.take_dropped() == 1
    assert spool.take_dropped() == 0


def test_drops_of_other_processes_are_counted(spool: Spool) -> None:
    for _ in range(2):
        forked(lambda: spool.count_drop(2))
    assert spool.take_dropped() == 4
