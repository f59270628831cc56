"""The lines of several processes on one stream, each with its time and name."""

from __future__ import annotations

import re
import threading
from collections.abc import Collection
from datetime import datetime
from typing import IO, TextIO

_COLORS = ("36", "33", "32", "35", "34", "96", "93", "92")
_SUPERVISOR_COLOR = "1"
_BAD = re.compile(r"^(?:WARNING|ERROR|CRITICAL)\b")
_BAD_COLOR = "31"
# Time and process stand before every line already; what is worth keeping of
# another program's own prefix is its level.
_CELERY = re.compile(r"^\[\d{4}-\d\d-\d\d [\d:,]+: (?P<level>[A-Z]+)/[^\]]+\] ")
_TORNADO = re.compile(r"^\[(?P<level>[DIWEC]) \d{6} [\d:]+ [^\]]+\] ")
# Werkzeug colours its lines also when nobody will see colours.
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_LEVELS = {"D": "DEBUG", "I": "INFO", "W": "WARNING", "E": "ERROR", "C": "CRITICAL"}


class LogStream:
    """Writes whole lines, one at a time, whoever they come from.

    :param out: where to.
    :param names: the processes that will write; for columns and colours.
    :param color: whether ``out`` shows ANSI colours.
    """

    def __init__(self, out: TextIO, *, names: Collection[str], color: bool) -> None:
        self._out = out
        self._color = color
        self._width = max((len(name) for name in names), default=0)
        self._colors = {
            name: _COLORS[index % len(_COLORS)] for index, name in enumerate(names)
        }
        self._lock = threading.Lock()
        self.broken = threading.Event()

    def write(self, name: str, line: str) -> None:
        """One line of one process."""
        text = line.rstrip("\r\n")
        if text.strip():
            color = self._colors.get(name, _SUPERVISOR_COLOR)
            shown = self._painted(text, _BAD_COLOR) if _BAD.match(text) else text
            now = datetime.now().astimezone().strftime("%H:%M:%S")
            prefix = self._painted(f"{now} {name:<{self._width}} |", color)
            self._put(f"{prefix} {shown}\n")

    def say(self, text: str) -> None:
        """Lines of our own, as they are."""
        self._put(f"{text}\n")

    def follow(
        self, name: str, pipe: IO[str], omitted: Collection[re.Pattern[str]]
    ) -> threading.Thread:
        """Copy a process's output until it ends, without the omitted lines."""

        def copy() -> None:
            with pipe:
                for line in pipe:
                    text = without_prefix(line)
                    if not any(pattern.search(text) for pattern in omitted):
                        self.write(name, text)

        thread = threading.Thread(target=copy, name=f"log-of-{name}", daemon=True)
        thread.start()
        return thread

    def _painted(self, text: str, color: str) -> str:
        return f"\x1b[{color}m{text}\x1b[0m" if self._color else text

    def _put(self, text: str) -> None:
        with self._lock:
            if self.broken.is_set():
                return
            try:
                self._out.write(_writable(text, self._out))
                self._out.flush()
            except (OSError, ValueError):
                # Whoever read us is gone, as in `metronome up | head`.
                self.broken.set()


def without_prefix(line: str) -> str:
    """A line without colours, and without the time and process that it repeats."""
    line = _ANSI.sub("", line)
    match = _CELERY.match(line) or _TORNADO.match(line)
    if match is None:
        return line
    level = match["level"]
    level = _LEVELS.get(level, level)
    rest = line[match.end() :]
    return rest if level in ("INFO", "DEBUG") else f"{level} {rest}"


def _writable(text: str, out: TextIO) -> str:
    encoding = getattr(out, "encoding", None) or "utf-8"
    return text.encode(encoding, "replace").decode(encoding)
