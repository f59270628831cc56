"""Runs several processes as one: all live, or all stop and nothing is left behind."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flask_metronome.cli.log_stream import LogStream

#: Seconds for a clean end; then whatever is left is killed.
STOP_SECONDS = 8.0
_POLL_SECONDS = 0.1
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Process:
    """A process to start.

    :param argv: the command line; it shows in ``ps``, so no password in it.
    :param env: its whole environment.
    :param omitted: lines of its output that are noise in a common stream.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: Path | None = None
    omitted: tuple[re.Pattern[str], ...] = ()


class Supervisor:
    """Starts processes, copies their output, and stops all when one ends.

    Nothing is restarted: while developing, a part that died is what one wants to
    see, and in production something else supervises.
    """

    def __init__(
        self,
        processes: Sequence[Process],
        stream: LogStream,
        *,
        stop_seconds: float = STOP_SECONDS,
    ) -> None:
        self._processes = tuple(processes)
        self._stream = stream
        self._stop_seconds = stop_seconds
        self._children: dict[str, subprocess.Popen[str]] = {}
        self._readers: list[threading.Thread] = []
        self._signals = 0

    @property
    def asked_to_stop(self) -> bool:
        """Whether somebody wants the end: a signal came, or the reader left."""
        return self._signals > 0 or self._stream.broken.is_set()

    def start(self) -> None:
        """Start every process; those after one that cannot start are not."""
        for process in self._processes:
            self._children[process.name] = _spawn(process)
        # Threads only after the last fork: a child must not inherit held locks.
        for process in self._processes:
            pipe = self._children[process.name].stdout
            assert pipe is not None
            self._readers.append(
                self._stream.follow(process.name, pipe, process.omitted)
            )

    def ended(self) -> tuple[str, int] | None:
        """A process that has ended by itself, and its exit code; None: all live."""
        for name, child in self._children.items():
            code = child.poll()
            if code is not None:
                return name, code
        return None

    def wait(self, until: Callable[[], bool], *, seconds: float | None = None) -> bool:
        """Wait for something while all live.

        :returns: whether it came; False when a process ended, a signal came or the
            time was up before.
        """
        deadline = None if seconds is None else time.monotonic() + seconds
        while not self.asked_to_stop and self.ended() is None:
            if until():
                return True
            if deadline is not None and time.monotonic() > deadline:
                return False
            time.sleep(_POLL_SECONDS)
        return False

    def stop(self) -> None:
        """End every process and whatever it started: ask first, then kill."""
        self._ask(signal.SIGTERM)
        if not self._all_ended(self._stop_seconds * 0.7):
            # A worker that waits for a long task: no longer, but tell the broker.
            self._ask(signal.SIGQUIT)
            self._all_ended(self._stop_seconds * 0.3)
        for child in self._children.values():
            # By its group: also what a child that is gone has left behind.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        for reader in self._readers:
            reader.join(timeout=1.0)

    @contextmanager
    def signals(self) -> Iterator[None]:
        """Take Ctrl-C, SIGTERM and a closed terminal as the wish to stop."""
        kinds = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
        before = {kind: signal.signal(kind, self._on_signal) for kind in kinds}
        try:
            yield
        finally:
            for kind, handler in before.items():
                signal.signal(kind, handler)

    def _on_signal(self, _number: int, _frame: Any) -> None:
        self._signals += 1

    def _ask(self, number: signal.Signals) -> None:
        for child in self._children.values():
            if child.poll() is None:
                with suppress(ProcessLookupError):
                    child.send_signal(number)

    def _all_ended(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        signals = self._signals
        while any(child.poll() is None for child in self._children.values()):
            impatient = self._signals > max(signals, 1)
            if impatient or time.monotonic() > deadline:
                return False
            time.sleep(_POLL_SECONDS)
        return True


def _spawn(process: Process) -> subprocess.Popen[str]:
    return subprocess.Popen(
        process.argv,
        env=dict(process.env),
        cwd=process.cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
        bufsize=1,
        # Its own group, so that Ctrl-C reaches us alone and we end them in order.
        start_new_session=True,
        preexec_fn=_end_with_parent,
    )


_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def _end_with_parent() -> None:
    """Have Linux end this process when its parent is killed outright."""
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
