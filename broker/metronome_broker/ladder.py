"""Picking a broker: the one that is named, else the best this machine can start."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TextIO

from metronome_broker.docker_broker import (
    DockerBroker,
    container_name,
    why_not_docker,
)
from metronome_broker.embedded_process import EmbeddedProcess
from metronome_broker.errors import BrokerError, BrokerStartFailed
from metronome_broker.private_node import PrivateNode, why_not_node
from metronome_broker.readiness import why_unreachable
from metronome_broker.running import (
    NODE_FOLDER,
    BrokerNote,
    Kind,
    RunningBroker,
    clear_away,
    end_noted,
    owner_lives,
    read_note,
    remove_note,
    write_note,
)

log = logging.getLogger(__name__)

CHOICES = ("auto", "docker", "node", "embedded")
#: Longer than the slowest start of all rungs one after the other.
_LOCK_SECONDS = 180.0
_LOCK_POLL_SECONDS = 0.1


def pick_broker(*, url: str | None, choice: str, data_dir: Path) -> RunningBroker:
    """The broker to use: ``url``, or one that runs for the data folder, or a new one.

    Args:
        url: an AMQP URL, used as it is, without looking whether it answers.
        choice: ``docker``, ``node`` or ``embedded`` for that one only; ``auto`` for
            the first of them that starts.
        data_dir: what is started belongs to this folder; processes that name the
            same folder share one broker.

    Raises:
        BrokerError: the choice is not one of those.
        BrokerStartFailed: nothing could be started, with each reason.
    """
    if choice not in CHOICES:
        raise BrokerError(
            f"broker choice must be one of {', '.join(CHOICES)}, not {choice!r}"
        )
    if url:
        return RunningBroker(kind="url", url=url, api_url=None)
    with _locked(data_dir):
        return _join(data_dir, choice, adopt=True) or _climb(data_dir, choice)


def join_broker(data_dir: Path) -> RunningBroker | None:
    """The broker that runs for a data folder, only to look at; None if none does."""
    return _join(data_dir, "auto", adopt=False)


@contextlib.contextmanager
def _locked(data_dir: Path) -> Iterator[None]:
    end = time.monotonic() + _LOCK_SECONDS
    with _lock_file(data_dir) as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise BrokerStartFailed(
                        f"another process has been starting a broker in {data_dir} "
                        f"for {_LOCK_SECONDS:g} s"
                    ) from None
            time.sleep(_LOCK_POLL_SECONDS)
        yield  # closing the file frees the lock


def _lock_file(data_dir: Path) -> TextIO:
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        return (data_dir / "broker.lock").open("a")
    except OSError as error:
        raise BrokerStartFailed(
            f"no broker can be started in {data_dir}, it cannot be written to: {error}"
        ) from error


def _join(data_dir: Path, choice: str, *, adopt: bool) -> RunningBroker | None:
    note = read_note(data_dir)
    if note is None:
        return None
    if choice not in ("auto", note.kind):
        raise BrokerStartFailed(
            f"broker choice is {choice!r}, but {data_dir} already runs one of kind "
            f"{note.kind!r}: stop that first"
        )
    why = why_unreachable(note.url)
    if why is not None:
        log.debug("the noted broker is gone: %s", why)
        if adopt:
            clear_away(data_dir, note)
        return None
    stop: Callable[[], None] | None = None
    if adopt and not owner_lives(note):
        # Its starter was killed: without an heir nobody would ever stop it.
        note = replace(note, owner_pid=os.getpid())
        write_note(data_dir, note)
        stop = _stopper(data_dir, note)
    return RunningBroker(
        kind=note.kind, url=note.url, api_url=note.api_url, joined=True, stop=stop
    )


def _stopper(data_dir: Path, note: BrokerNote) -> Callable[[], None]:
    return lambda: end_noted(data_dir, note)


def _climb(data_dir: Path, choice: str) -> RunningBroker:
    passed_over: list[str] = []
    for kind, start in _RUNGS.items():
        if choice not in ("auto", kind):
            continue
        try:
            note, stop = start(data_dir)
        except BrokerStartFailed as exc:
            passed_over.append(f"no {kind}: {exc}")
            continue
        write_note(data_dir, note)
        return RunningBroker(
            kind=note.kind,
            url=note.url,
            api_url=note.api_url,
            passed_over=tuple(passed_over),
            stop=_both(stop, data_dir),
        )
    raise BrokerStartFailed(f"no broker could be started: {'; '.join(passed_over)}")


def _both(stop: Callable[[], None], data_dir: Path) -> Callable[[], None]:
    def stop_and_forget() -> None:
        remove_note(data_dir)  # first: nobody should join what is about to end
        stop()

    return stop_and_forget


Started = tuple[BrokerNote, Callable[[], None]]


def _start_docker(data_dir: Path) -> Started:
    why = why_not_docker()
    if why is not None:
        raise BrokerStartFailed(why)
    broker = DockerBroker(container_name(data_dir))
    broker.start()
    note = BrokerNote(
        kind="docker",
        url=broker.url,
        api_url=broker.api_url,
        owner_pid=os.getpid(),
        container=broker.name,
    )
    return note, broker.remove


def _start_node(data_dir: Path) -> Started:
    why = why_not_node()
    if why is not None:
        raise BrokerStartFailed(why)
    node = PrivateNode(data_dir / NODE_FOLDER)
    node.start()
    note = BrokerNote(
        kind="node",
        url=node.url,
        api_url=node.api_url,
        owner_pid=os.getpid(),
        pid=node.pid,
    )
    return note, node.stop


def _start_embedded(data_dir: Path) -> Started:
    broker = EmbeddedProcess(data_dir)
    broker.start()
    note = BrokerNote(
        kind="embedded",
        url=broker.url,
        api_url=broker.api_url,
        owner_pid=os.getpid(),
        pid=broker.pid,
    )
    return note, broker.stop


_RUNGS: dict[Kind, Callable[[Path], Started]] = {
    "docker": _start_docker,
    "node": _start_node,
    "embedded": _start_embedded,
}
