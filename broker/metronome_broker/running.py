"""The broker a data folder uses, and the note about it that other processes read."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from subprocess import SubprocessError
from typing import Literal

from metronome_broker.docker_broker import remove_container
from metronome_broker.errors import BrokerStartFailed, without_password
from metronome_broker.private_file import write_private
from metronome_broker.private_node import PrivateNode
from metronome_broker.process_group import end_group

Kind = Literal["url", "docker", "node", "embedded"]
NODE_FOLDER = "rabbitmq"
_NOTE = "broker.json"
_STOP_SECONDS = 5.0
_NAMES = {
    "url": "the broker of METRONOME_BROKER_URL",
    "docker": "RabbitMQ in Docker",
    "node": "RabbitMQ from the installed rabbitmq-server",
    "embedded": "embedded broker (for development only, in memory)",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerNote:
    """What ``broker.json`` says: where a broker runs and who answers for it.

    Attributes:
        pid: the server's process, or None in Docker.
        owner_pid: the process that stops it; if that one is gone, who joins does.
        container: its name, in Docker.
    """

    kind: Kind
    url: str
    api_url: str | None
    owner_pid: int
    pid: int | None = None
    container: str | None = None


class RunningBroker:
    """A broker to use now.

    Attributes:
        url: AMQP URL, with password.
        api_url: URL of the management API, with password, or None.
        kind: ``url``, ``docker``, ``node`` or ``embedded``.
        line: one line for people, without password, to be said at start.
        owned: whether ``stop`` ends it.
    """

    def __init__(
        self,
        *,
        kind: Kind,
        url: str,
        api_url: str | None,
        passed_over: tuple[str, ...] = (),
        joined: bool = False,
        stop: Callable[[], None] | None = None,
    ) -> None:
        self.kind: Kind = kind
        self.url = url
        self.api_url = api_url
        self.line = _line(kind, url, passed_over, joined)
        self.owned = stop is not None
        self._stop = stop

    def stop(self) -> None:
        """Ends the broker if this process answers for it; else does nothing."""
        stop, self._stop = self._stop, None
        if stop is not None:
            stop()


def _line(kind: str, url: str, passed_over: tuple[str, ...], joined: bool) -> str:
    already = "already running, " if joined else ""
    why = f" ({'; '.join(passed_over)})" if passed_over else ""
    return f"broker: {already}{_NAMES[kind]} at {without_password(url)}{why}"


def write_note(data_dir: Path, note: BrokerNote) -> None:
    """Writes ``broker.json``, readable by its owner only: it holds a password."""
    write_private(data_dir / _NOTE, json.dumps(asdict(note), indent=2) + "\n")


def read_note(data_dir: Path) -> BrokerNote | None:
    """The note of a data folder; None when there is none or it makes no sense."""
    try:
        found = json.loads((data_dir / _NOTE).read_text(encoding="utf-8"))
        known = {field.name for field in fields(BrokerNote)}
        note = BrokerNote(**{k: v for k, v in found.items() if k in known})
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    return note if note.kind in _NAMES else None


def remove_note(data_dir: Path) -> None:
    """Removes ``broker.json``, if there is one."""
    with contextlib.suppress(FileNotFoundError):
        (data_dir / _NOTE).unlink()


def end_noted(data_dir: Path, note: BrokerNote) -> None:
    """Ends the broker a note is about, whoever started it, and removes the note."""
    if note.kind == "docker" and note.container:
        remove_container(note.container)
    elif note.kind == "node":
        PrivateNode(data_dir / NODE_FOLDER).stop()
    elif note.kind == "embedded":
        end_group(note.pid, _STOP_SECONDS)
    remove_note(data_dir)


def clear_away(data_dir: Path, note: BrokerNote) -> None:
    """Makes room where a noted broker does not answer, and removes the note.

    Its process id may belong to somebody else by now, so nothing is killed by it: a
    container and a node are ended by names of ours, an embedded broker ends by
    itself when nobody uses it.
    """
    if note.kind == "docker" and note.container:
        remove_container(note.container)
    elif note.kind == "node":
        with contextlib.suppress(BrokerStartFailed, OSError, SubprocessError):
            PrivateNode(data_dir / NODE_FOLDER).control("stop")
    remove_note(data_dir)


def owner_lives(note: BrokerNote) -> bool:
    """Whether the process that answers for the broker is still there."""
    try:
        os.kill(note.owner_pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
