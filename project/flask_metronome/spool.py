"""A bounded folder of records that wait for the database.

Every process appends JSON lines to a file of its own; a worker's main process
replays them in order. A killed process loses nothing that was appended.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

try:
    import fcntl
except ImportError:  # no prefork there, so one writer a folder
    fcntl = None  # type: ignore[assignment]

Record = dict[str, Any]
#: What became of a replayed record; ``later`` ends the replay.
Outcome = Literal["done", "drop", "later"]
Write = Callable[[Record, float], Outcome]
_OPEN, _TAKEN, _DROPPED = ".jsonl", ".taken", ".dropped"


class Spool:
    """Records on disk, oldest first.

    :param folder: made when the first record comes.
    :param limit_bytes: beyond it records are dropped, and counted.
    """

    def __init__(self, folder: Path, *, limit_bytes: int = 64 * 2**20) -> None:
        self._folder = folder
        self._limit = limit_bytes

    def append(self, record: Record) -> bool:
        """Keep a record; ``False`` when the spool is full or the disk says no."""
        # the host's clock only measures how old the record is at its replay
        stamped = {"spooled": time.time(), "record": record}
        line = (json.dumps(stamped, separators=(",", ":")) + "\n").encode()
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            if self.size() + len(line) > self._limit:
                self._count_drop()
                return False
            self._write(line)
        except OSError:
            return False
        return True

    def size(self) -> int:
        """Bytes waiting."""
        return sum(path.stat().st_size for path in self._files(_OPEN, _TAKEN))

    def is_empty(self) -> bool:
        """Whether nothing waits and nothing was dropped."""
        return not self._files(_OPEN, _TAKEN, _DROPPED)

    def replay(self, write: Write) -> int:
        """Hand every record and its age in seconds to ``write``, oldest first.

        Returns how many are done.

        A record may come twice after a crash: ``write`` must not mind.
        """
        done = 0
        with self._alone() as alone:
            if not alone:
                return 0
            for path in self._files(_OPEN):
                self._take(path)
            for path in self._files(_TAKEN):
                count, finished = _replay_file(path, write)
                done += count
                if not finished:
                    break
        return done

    def take_dropped(self) -> int:
        """How many records were dropped since the last call."""
        count = 0
        for path in self._files(_DROPPED):
            count += path.stat().st_size
            path.unlink(missing_ok=True)
        return count

    def _write(self, line: bytes) -> None:
        path = self._own(_OPEN)
        while True:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                _lock(handle)
                # taken between open and lock: the record would be lost
                if path.exists() and os.path.samestat(os.fstat(handle), path.stat()):
                    os.write(handle, line)
                    return
            finally:
                os.close(handle)

    def _take(self, path: Path) -> None:
        handle = os.open(path, os.O_RDONLY)
        try:
            _lock(handle)
            path.rename(path.with_name(f"{time.time_ns():020d}-{path.stem}{_TAKEN}"))
        finally:
            os.close(handle)

    def _count_drop(self) -> None:
        # one byte a record: its size is the count, whoever dies meanwhile
        with self._own(_DROPPED).open("ab") as file:
            file.write(b".")

    def _own(self, suffix: str) -> Path:
        return self._folder / f"{os.getpid()}{suffix}"

    def _files(self, *suffixes: str) -> list[Path]:
        try:
            names = sorted(os.listdir(self._folder))
        except FileNotFoundError:
            return []
        return [self._folder / name for name in names if name.endswith(suffixes)]

    @contextmanager
    def _alone(self) -> Iterator[bool]:
        """Whether this process is the only one that replays now."""
        if not self._folder.is_dir():
            yield False
            return
        handle = os.open(self._folder / "replay.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            yield _lock(handle, wait=False)
        finally:
            os.close(handle)


def _replay_file(path: Path, write: Write) -> tuple[int, bool]:
    """Replay one file; how many records were done, and whether all of them."""
    lines = path.read_bytes().splitlines()
    for done, line in enumerate(lines):
        try:
            stamped = json.loads(line)
        except ValueError:
            continue  # half a line: its process died while it wrote
        age_seconds = max(0.0, time.time() - stamped["spooled"])
        if write(stamped["record"], age_seconds) == "later":
            rest = path.with_suffix(".rest")
            rest.write_bytes(b"\n".join(lines[done:]) + b"\n")
            rest.replace(path)
            return done, False
    path.unlink(missing_ok=True)
    return len(lines), True


def _lock(handle: int, *, wait: bool = True) -> bool:
    if fcntl is None:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True
