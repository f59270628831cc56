"""Ending a server that leads its own process group."""

from __future__ import annotations

import contextlib
import os
import signal
import time


def end_group(pid: int | None, seconds: float) -> None:
    """SIGTERM to a process group, and SIGKILL if it is there after the seconds."""
    if pid is None:
        return
    for number, wait in ((signal.SIGTERM, seconds), (signal.SIGKILL, seconds)):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGCONT)
            os.killpg(pid, number)
        if _gone(pid, wait):
            return


def _gone(pid: int, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)  # ours: else it stays a zombie for ever
        try:
            os.killpg(pid, 0)
        except (ProcessLookupError, PermissionError):
            return True
        time.sleep(0.05)
    return False
