"""A Flask app for the workers' soak: bodies that end in every way there is.

Each body appends one line when it begins and one when it ends, in one write:
whatever the database says later must agree with them.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import sys
import threading
import time
import uuid
from typing import Any

from celery import group
from celery.exceptions import Ignore, Reject, SoftTimeLimitExceeded
from flask import Flask

from flask_metronome import Metronome
from flask_metronome.endings import fence_of
from flask_metronome.recorder import Lease

app = Flask(__name__, instance_path=os.environ["METRONOME_DATA_DIR"])
metronome = Metronome(app)
celery = metronome.celery
celery.conf.update(
    worker_hijack_root_logger=False,
    worker_soft_shutdown_timeout=float(
        os.environ.get("METRONOME_TEST_SOFT_SHUTDOWN", "0")
    ),
)


def note(task: Any, event: str, how: str = "", nonce: str = "") -> None:
    """A body begins or ends."""
    append(
        {
            "at": time.monotonic(),
            "event": event,
            "run": task.request.id,
            "fence": fence_of(task.request) or 0,
            "retries": task.request.retries,
            "pid": os.getpid(),
            "parent": os.getppid(),
            "how": how,
            "nonce": nonce,
        }
    )


def append(line: dict[str, Any]) -> None:
    """Append a line; a process killed here wrote all of it or nothing."""
    side = os.open(os.environ["METRONOME_TEST_SIDE"], os.O_WRONLY | os.O_APPEND)
    try:
        os.write(side, (json.dumps(line) + "\n").encode())
    finally:
        os.close(side)


def beat(self: Lease) -> bool:
    """As the lease's own; a heartbeat that was written is in the side file, too."""
    moment = time.monotonic()
    said = BEAT(self)
    if said:
        append({"at": moment, "event": "beat", "pid": os.getpid()})
    return said


BEAT = Lease._beat
Lease._beat = beat  # type: ignore[method-assign]


def body(task: Any, how: str, seconds: float = 0.0, more: int = 0) -> Any:
    """Do as told; ``more`` is how often to retry, or how big the result is."""
    note(task, "begin", how)
    nonce = uuid.uuid4().hex
    try:
        time.sleep(seconds)
        said = _act(task, how, more, nonce)
    except BaseException as error:
        note(task, "end", type(error).__name__, nonce)
        raise
    note(task, "end", "return", nonce)
    return said


def _act(task: Any, how: str, more: int, nonce: str) -> Any:
    if how == "raise":
        raise ValueError(f"{nonce} \0 \ud800")  # no database keeps such text
    if how == "retry" and task.request.retries < more:
        raise task.retry(countdown=more - 1, max_retries=more, exc=ValueError(nonce))
    if how == "ignore":
        raise Ignore
    if how == "reject":
        raise Reject(nonce)
    if how == "memory":
        _meet_the_memory_limit()
    if how == "oom" and fence_of(task.request) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "exit":
        sys.exit(3)
    if how == "hard":
        with contextlib.suppress(SoftTimeLimitExceeded):
            time.sleep(4)
        time.sleep(2)
    if how == "children":
        (child.si(0.05) | child.si(0.0)).apply_async()
        group(child.si(0.0), child.si(0.1)).apply_async()
    return {"nonce": nonce, "filler": "x" * (more if how == "big" else 0)}


def _meet_the_memory_limit() -> None:
    """A ``MemoryError``: by the process's own limit, where it is a process."""
    if threading.current_thread() is not threading.main_thread():
        bytearray(1 << 62)
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, before[1]))
    try:
        bytearray(1 << 31)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@metronome.task(bind=True, name="soak.late")
def late(self: Any, *args: Any) -> Any:
    return body(self, *args)


@metronome.task(bind=True, name="soak.early", acks_late=False)
def early(self: Any, *args: Any) -> Any:
    return body(self, *args)


@metronome.task(bind=True, name="soak.limited", soft_time_limit=1, time_limit=2)
def limited(self: Any, *args: Any) -> Any:
    return body(self, *args)


@metronome.task(bind=True, name="soak.quiet", ignore_result=True)
def quiet(self: Any, *args: Any) -> Any:
    return body(self, *args)


@metronome.task(bind=True, name="soak.child")
def child(self: Any, seconds: float) -> Any:
    return body(self, "child", seconds)
