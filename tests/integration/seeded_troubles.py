"""More of the seeded shop's past: incidents, mutes, an audit, and a wild schedule.

The wild one has whatever must not break a page: markup in every text, words
without end, every state that a run can have.
"""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, insert, select

from flask_metronome.core.cadence import cron
from flask_metronome.core.run import FINAL, UNSTARTED, RunState
from flask_metronome.models import (
    attempts,
    audit,
    incidents,
    mutes,
    results,
    runs,
    schedules,
    workers,
)

#: Does harm when a page lets it through.
EVIL = "<script>window.harmed = true</script><img src=x onerror='window.harmed = 1'>"
ENDLESS = "a-very-long-name-that-never-ends-" * 5
WILD = "wild." + ENDLESS[:160]


def seed_troubles(connection: Connection, now: datetime) -> None:
    """Write them beside what ``seed`` wrote."""
    for key, state in (("always-fails", "open"), ("stock-sync", "acknowledged")):
        _incident(connection, key, state, now)
    _incident(connection, "exchange-rates", "closed", now)
    _write(
        connection,
        mutes,
        scope="lane:mail",
        from_at=now,
        until_at=now + timedelta(hours=8),
        who="maria",
        reason="moving the mail server",
        created_at=now,
    )
    connection.execute(
        insert(audit).values(
            at=now - timedelta(days=2),
            who="maria",
            action="schedule.pause",
            subject="loyalty-points",
            detail={"reason": "ticket 481"},
        )
    )
    _write(
        connection,
        workers,
        hostname="old@shop-0",
        pid=7,
        version="0.0.9",
        lanes=["default", "mail"],
        active=[],
        started_at=now - timedelta(hours=9),
        heartbeat_at=now - timedelta(hours=2),
    )
    _wild(connection, now)


def _write(connection: Connection, table: Any, **values: Any) -> str:
    row = {"id": str(uuid.uuid4())} | values
    connection.execute(insert(table).values(**row))
    return str(row["id"])


def _incident(connection: Connection, key: str, state: str, now: datetime) -> None:
    bad = (RunState.FAILED, RunState.MISSED)
    run = connection.execute(
        select(runs)
        .where(runs.c.schedule_key == key, runs.c.state.in_(bad))
        .order_by(runs.c.due_at.desc())
        .limit(1)
    ).one()
    values: dict[str, Any] = {
        "open_key": None if state == "closed" else f"{key}:bad",
        "schedule_id": run.schedule_id,
        "schedule_key": key,
        "lane": run.lane,
        "kind": "missed" if run.state == "missed" else "failed",
        "state": state,
        "opened_at": now - timedelta(minutes=3),
        "bad_since": run.due_at,
        "last_due_at": run.due_at,
        "bad_count": 3,
        "first_run": run.id,
        "last_run": run.id,
        "happened": f"failed: {run.error}" if run.error else "no beat planned it",
        "last_good_at": now - timedelta(hours=3),
    }
    if state == "acknowledged":
        values |= {"acknowledged_at": now, "acknowledged_by": "maria"}
        values |= {"note": "warehouse is told, they restart it"}
    if state == "closed":
        values |= {"closed_at": now, "close_reason": "good"}
    _write(connection, incidents, **values)


def _wild(connection: Connection, now: datetime) -> None:
    cadence = cron("*/20 1-5 * * *", tz="Europe/Berlin")
    due_at = cadence.next_after(now)
    assert due_at is not None
    schedule = _write(
        connection,
        schedules,
        key=WILD,
        task=f"shop.{EVIL}"[:255],
        description=EVIL + ENDLESS,
        cadence=cadence.to_dict(),
        lane="default",
        args=[EVIL],
        kwargs={EVIL: ENDLESS, "password": "hunter2"},
        options={},
        owner="api",
        next_due_at=due_at,
        miss_after_at=due_at + timedelta(hours=1),
        max_runtime_seconds=90.0,
        start_deadline_seconds=600.0,
        catchup="all",
        created_at=now,
        updated_at=now,
    )
    for number, state in enumerate(RunState):
        moment = now - timedelta(minutes=20 * (number + 1))
        _wild_run(connection, schedule, state, moment)


def _wild_run(
    connection: Connection, schedule: str, state: RunState, due_at: datetime
) -> None:
    values: dict[str, Any] = {
        "schedule_id": schedule,
        "schedule_key": WILD,
        "origin": "auto" if state in FINAL else "manual:wild",
        "due_at": due_at,
        "fires_at": due_at,
        "state": state,
        "task": f"shop.{EVIL}"[:255],
        "lane": "default",
        "args": [EVIL],
        "kwargs": {EVIL: ENDLESS, "password": "hunter2"},
        "options": {},
        "revision": 1,
        "grace_until": due_at + timedelta(minutes=10),
        "late_after_seconds": 30.0,
        "concurrency_key": schedule,
        "planned_at": due_at,
        "publish_after": due_at,
        "updated_at": due_at,
    }
    if state in (RunState.MISSED, RunState.EXPIRED):
        values |= {"missed": True, "reason": "scheduler_down"}
    if state is RunState.PLANNED:
        values |= {"publish_error": EVIL, "publish_tries": 3}
    ran = state not in UNSTARTED | {RunState.MISSED, RunState.SKIPPED}
    if ran:
        values |= {"started_at": due_at + timedelta(seconds=70), "late": True}
        values |= {"worker": f"{ENDLESS}@shop-1", "attempts": 1}
    if state in FINAL and ran:
        values |= {"finished_at": due_at + timedelta(seconds=99)}
        values |= {"runtime_seconds": 29.0}
    if state in (RunState.FAILED, RunState.TIMED_OUT, RunState.LOST):
        values |= {"error": EVIL + ENDLESS, "error_type": f"shop.{EVIL}"}
    run = _write(connection, runs, **values)
    if ran:
        _wild_attempt(connection, run, values)


def _wild_attempt(connection: Connection, run: str, values: dict[str, Any]) -> None:
    connection.execute(
        insert(attempts).values(
            run_id=run,
            task_id=run,
            task=values["task"],
            retries=0,
            delivery=2,
            redelivered=True,
            worker=values["worker"],
            started_at=values["started_at"],
            ended_at=values.get("finished_at"),
            state="running" if values["state"] not in FINAL else "failed",
            error=values.get("error"),
            error_type=values.get("error_type"),
            lost_cause="worker_dead" if values["state"] == "lost" else None,
            traceback="\n".join([EVIL, *(f"  line {n} {ENDLESS}" for n in range(60))]),
        )
    )
    connection.execute(
        insert(results).values(
            task_id=str(uuid.uuid4()),
            status="FAILURE",
            name=f"shop.{EVIL}",
            worker=values["worker"],
            run_id=run,
            parent_id=run,
            updated_at=values["due_at"],
            done_at=values["due_at"],
        )
    )
