"""A bounded folder of records that wait for the database.

Every process appends JSON lines to a file of its own; a worker's main process
replays them, all files together, oldest record first. What was appended is on
the disk: neither a killed process nor a machine that loses its power loses it.
"""

from __future__ import annotations

import heapq
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from flask_metronome.flock import locked

Record = dict[str, Any]
#: What became of a replayed record; ``later`` ends the replay.
Outcome = Literal["done", "drop", "later"]
Write = Callable[[Record, float], Outcome]
_OPEN, _TAKEN, _DROPPED, _OFFSET = ".jsonl", ".taken", ".dropped", ".offset"
#: This part of the limit comes on top of it, for what is short and matters most.
_RESERVED = 8
#: So many records may come again after a crash.
_SAVE_EVERY = 100


class Spool:
    """Records on disk, oldest first.

    :param folder: made when the first record comes.
    :param limit_bytes: beyond it records are dropped, and counted.
    """

    def __init__(self, folder: Path, *, limit_bytes: int = 64 * 2**20) -> None:
        self._folder = folder
        self._limit = limit_bytes
        # dropped, and not even that could be written: the disk is full
        self._uncounted = 0

    def append(self, record: Record, *, reserved: bool = False) -> bool:
        """Keep a record; ``False`` when the spool is full or the disk says no.

        It is on the disk when this returns: the database is away, and there is
        no other copy once the message is acknowledged.

        :param reserved: there is a reserve for it; if even that is full, who calls
            counts it, or has another way.
        """
        # the host's clock only measures how old the record is at its replay
        stamped = {"spooled": time.time(), "record": record}
        line = (json.dumps(stamped, separators=(",", ":")) + "\n").encode()
        try:
            self._make_folder()
            reserve = self._limit // _RESERVED if reserved else 0
            if self.size() + len(line) <= self._limit + reserve:
                _append(self._own(_OPEN), line)
                return True
        except OSError:
            pass
        if not reserved:
            self.count_drop()
        return False

    def size(self) -> int:
        """Bytes waiting, about."""
        return sum(_size(path) for path in self._files(_OPEN, _TAKEN))

    def is_waiting(self) -> bool:
        """Whether any record waits that this process may read."""
        return any(os.access(p, os.R_OK) for p in self._files(_OPEN, _TAKEN))

    def complaint(self) -> str | None:
        """Why no record can be kept, in words; ``None`` when one can."""
        folder = self._folder
        # not by pathlib, which raises where a folder above may not be entered
        while not os.path.lexists(folder) and folder != folder.parent:
            folder = folder.parent
        allowed = os.access(folder, os.R_OK | os.W_OK | os.X_OK)
        if os.path.isdir(folder) and allowed:
            return None
        return f"{folder} is no folder that this process may read and write"

    def waiting(self) -> list[Record]:
        """The records that wait, oldest first; for a look, they may go meanwhile."""
        with suppress(OSError):
            parts = [_Part.of(path) for path in self._files(_TAKEN, _OPEN)]
            lines = heapq.merge(*(part.lines() for part in parts))
            return [line.record for line in lines if line.record is not None]
        return []

    def replay(self, write: Write, *, stop: Callable[[], bool] = lambda: False) -> int:
        """Hand every record and its age in seconds to ``write``, oldest first.

        Returns how many are done. Does nothing while another process replays.

        A record may come twice after a crash: ``write`` must not mind.

        :param stop: asked before each record; ``True`` leaves the rest for later.
        :raises OSError: the folder cannot be read or written.
        """
        if not self._folder.is_dir():
            return 0
        with locked(self._folder / "replay.lock", wait=False) as alone:
            if alone is None:
                return 0
            for path in self._files(_OPEN):
                self._take(path)
            return self._replay(
                [_Part.of(path) for path in self._files(_TAKEN)], write, stop
            )

    def count_drop(self, count: int = 1) -> None:
        """Note that so many records are lost; whoever asks first is told."""
        self._uncounted += count
        with suppress(OSError):
            self._make_folder()
            # one byte a record: its size is the count, whoever dies meanwhile
            _append(self._own(_DROPPED), b"." * self._uncounted)
            self._uncounted = 0

    def take_uncounted(self) -> int:
        """How many this process dropped and could not note on the disk."""
        count, self._uncounted = self._uncounted, 0
        return count

    def take_dropped(self) -> int:
        """How many records were dropped since the last call, by any process."""
        count = self.take_uncounted()
        for path in self._files(_DROPPED):
            with suppress(OSError), locked(path, wait=False) as handle:
                if handle is not None:
                    count += os.fstat(handle).st_size
                    path.unlink()
        return count

    def _replay(
        self, parts: list[_Part], write: Write, stop: Callable[[], bool]
    ) -> int:
        done = since_saved = 0
        try:
            for line in heapq.merge(*(part.lines() for part in parts)):
                if stop():
                    break
                if line.record is None:
                    self.count_drop()  # its process died while it wrote
                elif self._write(line, write) == "later":
                    break
                line.part.offset = line.end
                done += line.record is not None
                since_saved += 1
                if since_saved >= _SAVE_EVERY:
                    since_saved = 0
                    _save(parts)
        finally:
            _save(parts)
        return done

    @staticmethod
    def _write(line: _Line, write: Write) -> Outcome:
        assert line.record is not None
        return write(line.record, max(0.0, time.time() - line.spooled))

    def _take(self, path: Path) -> None:
        """From now on nobody appends to it; one whose writer is at it stays."""
        with suppress(OSError), locked(path, wait=False) as handle:
            if handle is not None:
                path.rename(
                    path.with_name(f"{time.time_ns():020d}-{path.stem}{_TAKEN}")
                )

    def _make_folder(self) -> None:
        if not self._folder.is_dir():
            self._folder.mkdir(parents=True, exist_ok=True)
            _sync_folder(self._folder.parent)

    def _own(self, suffix: str) -> Path:
        return self._folder / f"{os.getpid()}{suffix}"

    def _files(self, *suffixes: str) -> list[Path]:
        try:
            names = sorted(os.listdir(self._folder))
        except OSError:
            return []
        return [self._folder / name for name in names if name.endswith(suffixes)]


@dataclass(slots=True)
class _Part:
    """A file of records, and how far it is replayed."""

    path: Path
    offset: int
    size: int

    @classmethod
    def of(cls, path: Path) -> _Part:
        offset = 0
        with suppress(OSError, ValueError):
            offset = int(path.with_suffix(_OFFSET).read_text())
        return cls(path, offset, path.stat().st_size)

    def lines(self) -> Iterator[_Line]:
        spooled = 0.0
        if not os.access(self.path, os.R_OK):
            return  # another user's: theirs to replay
        with self.path.open("rb") as file:
            file.seek(self.offset)
            end = self.offset
            for text in file:
                end += len(text)
                line = _Line.of(text, self, end, spooled)
                spooled = line.spooled
                yield line

    def save(self) -> None:
        if self.offset >= self.size:
            self.path.unlink(missing_ok=True)
            self.path.with_suffix(_OFFSET).unlink(missing_ok=True)
        elif self.offset:
            # not synced: after a loss of power some records come again
            _replace(self.path.with_suffix(_OFFSET), str(self.offset))


@dataclass(slots=True)
class _Line:
    """One line; ``record`` is ``None`` for what is no record."""

    spooled: float
    part: _Part
    end: int
    record: Record | None

    @classmethod
    def of(cls, text: bytes, part: _Part, end: int, before: float) -> _Line:
        try:
            stamped = json.loads(text)
            return cls(float(stamped["spooled"]), part, end, dict(stamped["record"]))
        except (ValueError, TypeError, KeyError):
            return cls(before, part, end, None)

    def __lt__(self, other: _Line) -> bool:
        return self.spooled < other.spooled


def _save(parts: list[_Part]) -> None:
    for part in parts:
        part.save()


def _append(path: Path, data: bytes) -> None:
    """Write all of it at the end, and to the disk, or nothing.

    :raises OSError: there is no room.
    """
    while True:
        with locked(path, wait=True) as handle:
            # taken between open and lock: the record would be lost
            if handle is None or not _is_at(handle, path):
                continue
            size = os.fstat(handle).st_size
            try:
                _write_all(handle, _after_torn(path, size) + data)
                os.fsync(handle)
            except OSError:
                os.ftruncate(handle, size)
                raise
            if not size:
                _sync_folder(path.parent)
            return


def _after_torn(path: Path, size: int) -> bytes:
    """Ends the line that a killed process of the same number left half written."""
    if not size or path.suffix != _OPEN:
        return b""
    with path.open("rb") as file:
        file.seek(size - 1)
        return b"" if file.read(1) == b"\n" else b"\n"


def _write_all(handle: int, data: bytes) -> None:
    while data:
        data = data[os.write(handle, data) :]


def _is_at(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0  # taken or replayed meanwhile


def _replace(path: Path, text: str) -> None:
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)


def _sync_folder(folder: Path) -> None:
    """A new name is on the disk only when its folder is."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
