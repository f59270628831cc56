"""A Flask app for the worker tests: each task ends in a way of its own.

Every body writes a line to a side file, so that a test can compare what was
recorded with what really ran.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from celery import chord
from celery.exceptions import Ignore, Reject, SoftTimeLimitExceeded
from flask import Flask, current_app

from flask_metronome import Metronome

app = Flask(__name__, instance_path=os.environ["METRONOME_DATA_DIR"])
metronome = Metronome(app)
celery = metronome.celery
celery.conf.update(
    worker_hijack_root_logger=False,
    worker_cancel_long_running_tasks_on_connection_loss=bool(
        os.environ.get("METRONOME_TEST_CANCEL_ON_LOSS")
    ),
    worker_soft_shutdown_timeout=float(
        os.environ.get("METRONOME_TEST_SOFT_SHUTDOWN", "10")
    ),
)
if os.environ.get("METRONOME_TEST_EXCLUSIVE_CONTROL"):
    # Celery's own defaults, for a negative control
    celery.conf.update(
        control_queue_exclusive=True,
        control_queue_durable=False,
        broker_channel_error_retry=False,
    )


def ran(task: Any) -> int:
    """Note that this body runs; how often it has by now."""
    with Path(os.environ["METRONOME_TEST_SIDE"]).open("a+") as side:
        side.write(f"{task.request.id} {task.request.retries} {os.getpid()}\n")
        side.flush()
        side.seek(0)
        return sum(line.startswith(task.request.id) for line in side)


def wait_for_flag(name: str) -> None:
    """Return when the test has made that file, or after half a minute."""
    flag = Path(os.environ["METRONOME_TEST_SIDE"]).with_name(name)
    give_up = time.monotonic() + 30
    while not flag.exists() and time.monotonic() < give_up:
        time.sleep(0.05)


@metronome.task(bind=True, name="t.succeed")
def succeed(self: Any, value: Any = None, password: str = "") -> Any:
    ran(self)
    return {"app": current_app.import_name, "value": value, "password": password}


@metronome.task(bind=True, name="t.fail")
def fail(self: Any) -> None:
    ran(self)
    raise ValueError("no luck with token=abc123")


@metronome.task(
    bind=True,
    name="t.flaky",
    autoretry_for=(ConnectionError,),
    retry_backoff=False,
    default_retry_delay=0,
    max_retries=3,
)
def flaky(self: Any, fails: int) -> str:
    ran(self)
    if self.request.retries < fails:
        raise ConnectionError(f"try {self.request.retries}")
    return "at last"


@metronome.task(bind=True, name="t.silent", ignore_result=True)
def silent(self: Any, error: bool = False) -> None:
    ran(self)
    if error:
        raise KeyError("silent")


@metronome.task(bind=True, name="t.wait")
def wait(self: Any, flag: str) -> str:
    ran(self)
    wait_for_flag(flag)
    return "waited"


@metronome.task(bind=True, name="t.die_once")
def die_once(self: Any) -> str:
    if ran(self) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return "lives"


@metronome.task(bind=True, name="t.early", acks_late=False)
def early(self: Any) -> None:
    ran(self)
    os.kill(os.getpid(), signal.SIGKILL)


@metronome.task(bind=True, name="t.leave")
def leave(self: Any) -> None:
    ran(self)
    sys.exit(3)


@metronome.task(bind=True, name="t.leave_once")
def leave_once(self: Any) -> str:
    if ran(self) == 1:
        sys.exit(3)
    return "stays"


@metronome.task(bind=True, name="t.second_try", time_limit=2)
def second_try(self: Any, then: str) -> None:
    """Tries again at once, and the second time ends without a word."""
    ran(self)
    if not self.request.retries:
        raise self.retry(countdown=0)
    if then == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    elif then == "leave":
        sys.exit(3)
    with contextlib.suppress(SoftTimeLimitExceeded):
        time.sleep(20)
    time.sleep(20)


@metronome.task(bind=True, name="t.retry_later")
def retry_later(self: Any, seconds: float) -> str:
    ran(self)
    if not self.request.retries:
        raise self.retry(countdown=seconds)
    return "later"


@metronome.task(bind=True, name="t.interrupted")
def interrupted(self: Any) -> None:
    ran(self)
    raise KeyboardInterrupt


@metronome.task(bind=True, name="t.replace_by_leaving")
def replace_by_leaving(self: Any) -> Any:
    ran(self)
    return self.replace(leave.si())


@metronome.task(bind=True, name="t.cancelled")
def cancelled(self: Any) -> None:
    ran(self)
    raise asyncio.CancelledError("stop")


@metronome.task(bind=True, name="t.too_long", time_limit=1)
def too_long(self: Any) -> None:
    ran(self)
    with contextlib.suppress(SoftTimeLimitExceeded):
        time.sleep(20)
    time.sleep(20)


@metronome.task(bind=True, name="t.soft", soft_time_limit=1, time_limit=20)
def soft(self: Any) -> None:
    ran(self)
    time.sleep(10)


@metronome.task(bind=True, name="t.ignore")
def ignore(self: Any) -> None:
    ran(self)
    raise Ignore


@metronome.task(bind=True, name="t.reject")
def reject(self: Any, requeue: bool = False) -> str:
    if ran(self) > 1:
        return "second time"
    raise Reject("do not want", requeue=requeue)


@metronome.task(bind=True, name="t.replace")
def replace(self: Any) -> Any:
    ran(self)
    return self.replace(succeed.s("replaced"))


@metronome.task(bind=True, name="t.replace_by")
def replace_by(self: Any, kind: str) -> Any:
    ran(self)
    links = {
        "nobody": lambda: succeed.si("never").set(queue="nowhere"),
        "chain": lambda: fail.si() | succeed.si("never"),
        "chord": lambda: chord([succeed.si(1), fail.si()], succeed.si("never")),
    }
    return self.replace(links[kind]())


@metronome.task(bind=True, name="t.promise")
def promise(self: Any, then: str) -> str:
    ran(self)
    if self.request.retries:
        return "at last"
    self.retry(countdown=0, throw=False)
    if then == "raise":
        raise ValueError("after all")
    if then == "ignore":
        raise Ignore
    return "too early"


@metronome.task(bind=True, name="t.memory")
def memory(self: Any) -> None:
    ran(self)
    raise MemoryError("no room")


@metronome.task(bind=True, name="t.bad_chord")
def bad_chord(self: Any) -> list[str]:
    ran(self)
    ended = chord([succeed.si(1), fail.si()])(succeed.s())
    return [ended.id, ended.parent.id]


@metronome.task(bind=True, name="t.progress")
def progress(self: Any, flag: str) -> str:
    ran(self)
    self.update_state(state="PROGRESS", meta={"done": 1})
    wait_for_flag(flag)
    return "done"


@metronome.task(bind=True, name="t.children")
def children(self: Any) -> None:
    ran(self)
    one, two = (succeed.si(n) for n in (1, 2))
    (one | two).apply_async()
    flaky.apply_async((1,))
    chord([succeed.si(3), succeed.si(4)])(succeed.s())


@metronome.task(bind=True, name="t.refuse")
def refuse(self: Any) -> None:
    ran(self)
    raise Reject("never", requeue=True)


@metronome.task(bind=True, name="t.die")
def die(self: Any) -> None:
    ran(self)
    os.kill(os.getpid(), signal.SIGKILL)


@metronome.task(bind=True, name="t.wait_early", acks_late=False)
def wait_early(self: Any, flag: str) -> str:
    ran(self)
    wait_for_flag(flag)
    return "waited"


@metronome.task(bind=True, name="t.retry_nowhere")
def retry_nowhere(self: Any) -> None:
    ran(self)
    raise self.retry(queue="nowhere", countdown=0)


@metronome.task(bind=True, name="t.odd")
def odd(self: Any) -> object:
    ran(self)
    return object()
