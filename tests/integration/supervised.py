"""A `metronome up` or `demo` in a process of its own, and what it started."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


class Supervised:
    """One supervisor process; its output is collected while it runs."""

    def __init__(self, *words: str, cwd: Path, **environ: str) -> None:
        clean = {k: v for k, v in os.environ.items() if not k.startswith("METRONOME_")}
        clean.pop("FLASK_APP", None)
        self.process = subprocess.Popen(
            [sys.executable, "-m", *words],
            cwd=cwd,
            env={**clean, "METRONOME_BROKER": "embedded", **environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    def wait_for(self, what: Callable[[], Any], *, seconds: float) -> Any:
        """What it answers once that is true; fails when the process ends before."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.output
            found = what()
            if found:
                return found
            time.sleep(0.2)
        raise AssertionError(f"not within {seconds} s:\n{self.output[-6000:]}")

    def url_of(self, name: str) -> str:
        """A URL that was printed when all was up."""
        start = f"  {name} "
        lines = [line for line in self.lines if line.startswith(start)]
        return lines[0].split()[1] if lines else ""

    def end(self, number: signal.Signals) -> int:
        """Send a signal to the supervisor alone; its exit code."""
        self.process.send_signal(number)
        code = self.process.wait(timeout=60)
        self._reader.join(timeout=5)
        return code

    def close(self) -> None:
        """Leave nothing behind, whatever happened."""
        left = descendants(self.process.pid)
        if self.process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.end(signal.SIGTERM)
        for pid in (*left, self.process.pid):
            if self.process.poll() is None or is_alive(pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self.process.wait(timeout=60)
        self._reader.join(timeout=5)
        assert self.process.stdout is not None
        self.process.stdout.close()


@contextlib.contextmanager
def supervised(*words: str, cwd: Path, **environ: str) -> Iterator[Supervised]:
    """Start ``python -m <words>``; ends it and all it started."""
    found = Supervised(*words, cwd=cwd, **environ)
    try:
        yield found
    finally:
        found.close()


def fetch(url: str) -> Any:
    """The JSON at a URL; None while it is not there."""
    try:
        with urllib.request.urlopen(url, timeout=60) as response:
            return json.load(response)
    except (OSError, ValueError):
        return None


def status_of(url: str) -> int:
    """The HTTP status of a URL."""
    try:
        with urllib.request.urlopen(url, timeout=60) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def descendants(pid: int) -> list[int]:
    """The process's children and theirs."""
    parents: dict[int, int] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                stat = (folder / "stat").read_text().rpartition(")")[2].split()
                parents[int(folder.name)] = int(stat[1])
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found[1:]


def is_alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"
