"""A store of runs on a clock that only the test moves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import insert, select, update

from flask_metronome.core.claim import Delivery
from flask_metronome.core.ending import Ending
from flask_metronome.core.run import AttemptState, RunState
from flask_metronome.database import Database
from flask_metronome.models import attempts, metadata, runs, schedules
from flask_metronome.store import claims, ends, workers
from flask_metronome.store.workers import WorkerBeat
from flask_metronome.testing import SettableClock

RUN = "run-1"
ELSEWHERE = "00000000-0000-4000-8000-000000000000"
DELIVERY = Delivery(
    run_id=RUN,
    task="shop.report",
    retries=0,
    redelivered=False,
    worker="celery@one",
    worker_id=ELSEWHERE,
    pid=999_999,
)


class Store:
    """A store with one schedule, on a clock that only the test moves."""

    def __init__(self, folder: Path) -> None:
        self.clock = SettableClock()
        file = folder / "m.sqlite"
        is_new = not file.exists()
        self.database = Database(f"sqlite:///{file}", clock=self.clock)
        if is_new:
            metadata.create_all(self.database.engine)
            self._add_schedule()

    def _add_schedule(self) -> None:
        with self.database.begin() as c:
            now = self.database.now(c)
            c.execute(
                insert(schedules).values(
                    id="s",
                    key="report",
                    task="shop.report",
                    cadence={},
                    lane="default",
                    created_at=now,
                    updated_at=now,
                )
            )

    def add_run(self, run_id: str = RUN, **values: Any) -> None:
        with self.database.begin() as c:
            now = self.database.now(c)
            row: dict[str, Any] = {
                "id": run_id,
                "schedule_id": "s",
                "schedule_key": "report",
                "origin": "auto",
                "due_at": now,
                "fires_at": now,
                "state": RunState.PUBLISHED,
                "task": "shop.report",
                "lane": "default",
                "args": [],
                "kwargs": {},
                "options": {},
                "revision": 1,
                "grace_until": now + timedelta(seconds=60),
                "late_after_seconds": 15.0,
                "concurrency_key": "s",
                "updated_at": now,
            }
            c.execute(insert(runs).values({**row, **values}))

    def add_worker(self, worker_id: str, pid: int = 1) -> None:
        beat = WorkerBeat(
            id=worker_id,
            hostname="celery@one",
            pid=pid,
            version="1",
            lanes=[],
            active=[],
        )
        with self.database.begin() as c:
            workers.heartbeat(c, beat, now=self.database.now(c))

    def claim(self, *, tried: Sequence[datetime] = (), **changed: Any) -> claims.Claim:
        with self.database.begin() as c:
            return claims.claim(
                c,
                replace(DELIVERY, **changed),
                lease_seconds=30.0,
                now=self.database.now(c),
                tried=tried,
            )

    def finish(self, fence: int | None, state: AttemptState, **more: Any) -> bool:
        values = {"run_id": RUN, "retries": 0, "fence": fence, "state": state, **more}
        with self.database.begin() as c:
            return ends.finish(c, Ending(**values), now=self.database.now(c))

    def run(self, run_id: str = RUN) -> Any:
        with self.database.read() as c:
            return c.execute(select(runs).where(runs.c.id == run_id)).one()

    def attempts(self, run_id: str = RUN) -> list[Any]:
        with self.database.read() as c:
            mine = select(attempts).where(attempts.c.task_id == run_id)
            return list(c.execute(mine.order_by(attempts.c.fence)))

    def set_state(self, state: RunState) -> None:
        with self.database.begin() as c:
            c.execute(update(runs).where(runs.c.id == RUN).values(state=state))
