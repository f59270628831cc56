"""A Flask app for the whole path: one task a lane, each body writes to a side file."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from flask import Flask
from spans import record_spans

from flask_metronome import Metronome
from metronome_broker import lane_of

app = Flask(__name__, instance_path=os.environ["METRONOME_DATA_DIR"])
metronome = Metronome(app)
if "METRONOME_TEST_SPANS" in os.environ:
    record_spans(Path(os.environ["METRONOME_TEST_SPANS"]))


def note(task: Any) -> str:
    """One line a body: run, lane it came through, worker."""
    lane = str(lane_of(task.request.delivery_info["routing_key"]))
    with Path(os.environ["METRONOME_TEST_SIDE"]).open("a") as side:
        side.write(f"{task.request.id} {lane} {task.request.hostname}\n")
    return lane


@metronome.task(bind=True, name="clock.mail", lane="mail")
def mail(self: Any) -> str:
    return note(self)


@metronome.task(bind=True, name="clock.reports", lane="reports")
def reports(self: Any) -> str:
    return note(self)


@metronome.task(bind=True, name="clock.default")
def default(self: Any) -> str:
    return note(self)


@metronome.task(bind=True, name="clock.slow")
def slow(self: Any) -> str:
    time.sleep(1.5)
    return note(self)


@metronome.task(bind=True, name="clock.endless")
def endless(self: Any) -> None:
    note(self)
    time.sleep(300)


@metronome.task(
    bind=True,
    name="clock.flaky",
    autoretry_for=(ConnectionError,),
    retry_kwargs={"countdown": 0.2},
    retry_backoff=False,
    max_retries=3,
)
def flaky(self: Any) -> str:
    if self.request.retries < 2:
        raise ConnectionError("not yet")
    return note(self)
