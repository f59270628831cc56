"""Plain Celery, as its documentation sets it up for tasks that must not get lost.

The negative control: the same causes, recorded by Celery's database backend.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from celery import Celery
from celery.exceptions import Ignore, Reject
from kombu import Exchange, Queue

celery = Celery("plain", broker=os.environ["PLAIN_BROKER_URL"])
celery.conf.update(
    result_backend=f"db+{os.environ['PLAIN_DATABASE_URL']}",
    task_queues=[
        Queue(
            "plain",
            Exchange("plain", "topic"),
            "plain",
            queue_arguments={"x-queue-type": "quorum", "x-delivery-limit": 1},
        )
    ],
    task_default_queue="plain",
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_track_started=True,
    worker_prefetch_multiplier=1,
    worker_send_task_events=True,
    worker_hijack_root_logger=False,
    control_queue_exclusive=False,
    control_queue_durable=True,
    broker_connection_retry_on_startup=True,
)


def times(task: Any) -> int:
    with Path(os.environ["PLAIN_SIDE"]).open("a+") as side:
        side.write(f"{task.request.id}\n")
        side.flush()
        side.seek(0)
        return sum(line.strip() == task.request.id for line in side)


@celery.task(bind=True, name="p.die_once")
def die_once(self: Any) -> str:
    if times(self) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return "lives"


@celery.task(bind=True, name="p.die")
def die(self: Any) -> None:
    times(self)
    os.kill(os.getpid(), signal.SIGKILL)


@celery.task(bind=True, name="p.wait_early", acks_late=False)
def wait_early(self: Any) -> None:
    times(self)
    time.sleep(60)


@celery.task(bind=True, name="p.ignore")
def ignore(self: Any) -> None:
    times(self)
    raise Ignore


@celery.task(bind=True, name="p.reject")
def reject(self: Any) -> None:
    times(self)
    raise Reject("do not want", requeue=False)


@celery.task(name="p.succeed")
def succeed() -> str:
    return "done"
