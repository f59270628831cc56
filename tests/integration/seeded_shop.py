"""A shop with a believable past: rows for pages to show, without any process."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from sqlalchemy import Connection, insert

from flask_metronome.core.cadence import Cadence, cron, every
from flask_metronome.models import attempts, beats, runs, schedules, workers

TRACEBACK = """Traceback (most recent call last):
  File "/srv/shop/tasks.py", line 88, in sync_stock
    response = warehouse.fetch(sku)
  File "/srv/shop/warehouse.py", line 41, in fetch
    raise WarehouseDown(f"HTTP {status} from {url}")
shop.warehouse.WarehouseDown: HTTP 503 from https://warehouse.example/stock
"""
_ERROR = {
    "error_type": "shop.warehouse.WarehouseDown",
    "error": "HTTP 503 from https://warehouse.example/stock",
}
LANES = ("default", "mail", "reports")


@dataclass(frozen=True, kw_only=True)
class Story:
    """What happened to one schedule: shares of its runs, and how it stands."""

    cadence: Cadence
    lane: str = "default"
    seconds: float = 1.0
    failed: float = 0.0
    retried: float = 0.0
    missed: float = 0.0
    skipped: float = 0.0
    late: float = 0.0
    runs: int = 70
    running: bool = False
    paused: bool = False


BERLIN = "Europe/Berlin"
STORIES = {
    "always-fails": Story(cadence=every(2, "minutes"), seconds=0.1, failed=1),
    "exchange-rates": Story(cadence=every(1, "hours"), seconds=1.2, missed=0.12),
    "heartbeat": Story(cadence=every(10, "seconds"), seconds=0.02),
    "import-suppliers": Story(cadence=every(6, "hours"), seconds=50, runs=7),
    "loyalty-points": Story(
        cadence=cron("30 2 * * *", tz=BERLIN), lane="reports", paused=True
    ),
    "newsletter": Story(
        cadence=cron("0 9 * * mon", tz=BERLIN), lane="mail", seconds=95
    ),
    "order-mails": Story(cadence=every(1, "minutes"), lane="mail", retried=0.15),
    "sales-report": Story(
        cadence=cron("0 8 * * *", tz=BERLIN), lane="reports", seconds=34, late=0.1
    ),
    "search-index": Story(
        cadence=every(30, "minutes"),
        lane="reports",
        seconds=240,
        skipped=0.1,
        running=True,
    ),
    "stock-sync": Story(
        cadence=every(5, "minutes"), seconds=6, failed=0.12, retried=0.3
    ),
}


def seed(connection: Connection, now: datetime) -> None:
    """Write all stories, two beats and a worker for each lane."""
    dice = random.Random(4)
    for key, story in STORIES.items():
        _tell(connection, key, story, now, dice)
    for host in ("shop-1", "shop-2"):
        _write(connection, beats, host=host, pid=412, **_alive(now))
    for lane in LANES:
        name = f"{lane}@shop-1"
        active = ["one"] if lane == "reports" else []
        _write(
            connection,
            workers,
            hostname=name,
            pid=99,
            lanes=[lane],
            active=active,
            **_alive(now),
        )


def _alive(now: datetime) -> dict[str, Any]:
    # a heartbeat of tomorrow: it lives for as long as a test may take
    ahead = now + timedelta(days=1)
    return {"version": "0.1.0", "started_at": now, "heartbeat_at": ahead}


def _write(connection: Connection, table: Any, **values: Any) -> None:
    connection.execute(insert(table).values(**({"id": str(uuid.uuid4())} | values)))


def _tell(
    connection: Connection, key: str, story: Story, now: datetime, dice: random.Random
) -> None:
    schedule_id = str(uuid.uuid4())
    due_at = story.cadence.next_after(now)
    assert due_at is not None
    values: dict[str, Any] = {
        "key": key,
        "task": f"shop.{key.replace('-', '_')}",
        "cadence": story.cadence.to_dict(),
        "lane": story.lane,
        "args": [],
        "kwargs": {},
        "options": {},
        "owner": "code",
        "next_due_at": due_at,
        "miss_after_at": due_at + timedelta(hours=1),
        "created_at": now - timedelta(days=80),
        "updated_at": now - timedelta(days=2),
    }
    if story.paused:
        values |= {"state": "paused", "next_due_at": None, "miss_after_at": None}
        values |= {"paused_by": "maria", "paused_reason": "ticket 481"}
    _write(connection, schedules, id=schedule_id, **values)
    past = list(islice(_back(story.cadence, now), story.runs))
    for number, moment in enumerate(past):
        newest = number == 0
        run = _run(story, moment, dice, newest=newest)
        run |= {"schedule_id": schedule_id, "schedule_key": key}
        run |= {"task": values["task"], "concurrency_key": schedule_id}
        run_id = str(uuid.uuid4())
        _write(connection, runs, id=run_id, **run)
        if run["attempts"]:
            _attempts(connection, run_id, run)


def _back(cadence: Cadence, now: datetime) -> Iterator[datetime]:
    moment = cadence.previous_at_or_before(now)
    while moment is not None:
        yield moment
        moment = cadence.previous_at_or_before(moment - timedelta(microseconds=1))


def _run(
    story: Story, due_at: datetime, dice: random.Random, *, newest: bool
) -> dict[str, Any]:
    run: dict[str, Any] = {
        "origin": "auto",
        "due_at": due_at,
        "fires_at": due_at,
        "lane": story.lane,
        "args": [],
        "kwargs": {},
        "options": {},
        "revision": 1,
        "grace_until": due_at + timedelta(seconds=60),
        "late_after_seconds": 30.0,
        "planned_at": due_at + timedelta(seconds=0.05),
        "attempts": 0,
        "updated_at": due_at,
    }
    return run | _fate(story, due_at, dice, newest=newest)


def _fate(
    story: Story, due_at: datetime, dice: random.Random, *, newest: bool
) -> dict[str, Any]:
    roll = dice.random()
    if roll < story.missed or (newest and story.missed):
        return {"state": "missed", "missed": True, "reason": "scheduler_down"}
    if roll < story.skipped and not newest:
        return {"state": "skipped", "reason": "overlap"}
    late = dice.random() < story.late
    started_at = due_at + timedelta(seconds=40 if late else 0.3)
    fate: dict[str, Any] = {
        "state": "started",
        "late": late,
        "published_at": due_at + timedelta(seconds=0.1),
        "received_at": due_at + timedelta(seconds=0.2),
        "started_at": started_at,
        "worker": f"{story.lane}@shop-1",
        "attempts": 1,
    }
    if newest and story.running:
        return fate
    seconds = story.seconds * dice.lognormvariate(0, 0.35)
    fate |= {"state": "succeeded", "runtime_seconds": seconds}
    fate["finished_at"] = started_at + timedelta(seconds=seconds)
    if roll < story.failed:
        fate |= {"state": "failed", **_ERROR}
    if story.retried and roll < story.failed + story.retried:
        fate |= {"retries": 2, "attempts": 3}
    return fate


def _attempts(connection: Connection, run_id: str, run: dict[str, Any]) -> None:
    count = run["attempts"]
    length = run.get("runtime_seconds", 0.0) / (2 * count - 1)
    begins = run["started_at"]
    for number in range(count):
        last = number == count - 1
        state = run["state"] if last else "retried"
        values: dict[str, Any] = {"state": "running" if state == "started" else state}
        if state != "started":
            values |= {"ended_at": begins + timedelta(seconds=length)}
            values |= {"runtime_seconds": length}
        if state in ("retried", "failed"):
            values |= {**_ERROR, "traceback": TRACEBACK}
        connection.execute(
            insert(attempts).values(
                run_id=run_id,
                task_id=run_id,
                task=run["task"],
                retries=number,
                delivery=1,
                worker=run["worker"],
                pid=4000 + number,
                started_at=begins,
                **values,
            )
        )
        begins += timedelta(seconds=2 * length)
