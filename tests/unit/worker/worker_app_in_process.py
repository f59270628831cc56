"""An app whose tasks are traced in this process, as a worker's pool would."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

from celery.app.trace import trace_task
from flask import Flask
from worker_store import Store

from flask_metronome import Metronome
from flask_metronome.database import Database
from flask_metronome.store.ledger import Ledger, ledger_of


class App:
    """A Flask app with a Metronome on SQLite, and no broker."""

    def __init__(self, folder: Path, **config: Any) -> None:
        self.store = Store(folder)
        self.flask = Flask("shop")
        self.flask.config.update(
            METRONOME_DATABASE_URL=f"sqlite:///{folder / 'm.sqlite'}",
            METRONOME_DATA_DIR=str(folder / "data"),
            METRONOME_BROKER_URL="amqp://127.0.0.1:1//",
            METRONOME_CLAIM_WAIT_SECONDS=0.2,
            METRONOME_DATABASE_TIMEOUT_SECONDS=0.2,
            **config,
        )
        self.metronome = Metronome(self.flask)
        self.celery = self.metronome.celery
        self.state = self.metronome.state
        self.state.database.clock = self.store.clock

    @property
    def database(self) -> Database:
        return self.state.database

    @property
    def ledger(self) -> Ledger:
        return ledger_of(self.state)

    @property
    def backend(self) -> Any:
        return self.celery.backend

    def trace(
        self, task: Any, *args: Any, run_id: str | None = None, **more: Any
    ) -> Any:
        """Execute a delivery of a task as a worker does; what the tracer says."""
        task_id = run_id or str(uuid.uuid4())
        headers = {"metronome_run": run_id} if run_id else {}
        request = {
            "id": task_id,
            "task": task.name,
            "hostname": "celery@here",
            "delivery_info": {"routing_key": "default.shop:report"},
            **headers,
            **more,
        }
        answer = trace_task(task, task_id, args, {}, request, app=self.celery)
        return task_id, answer

    def close(self) -> None:
        self.database.dispose()
        self.store.database.dispose()
