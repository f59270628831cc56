"""Locks on files, between processes; nothing where the system has none."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # no prefork there, so one writer a folder
    fcntl = None  # type: ignore[assignment]


@contextmanager
def locked(path: Path, *, wait: bool) -> Iterator[int | None]:
    """The file's open handle, to append by, while nobody else has its lock.

    ``None`` when another process has it and ``wait`` is false. The file is made.
    """
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        yield handle if _lock(handle, wait=wait) else None
    finally:
        # said, not only closed: a process forked meanwhile has the handle, too,
        # and would hold the lock for as long as it lives
        if fcntl is not None:
            fcntl.flock(handle, fcntl.LOCK_UN)
        os.close(handle)


def _lock(handle: int, *, wait: bool) -> bool:
    if fcntl is None:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True
