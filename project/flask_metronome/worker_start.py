"""What a worker makes sure of before it consumes: database, broker, topology."""

from __future__ import annotations

from typing import Any

from celery import signals

from flask_metronome import schema
from flask_metronome.errors import MetronomeError
from flask_metronome.shown import clean_logs
from flask_metronome.state import State
from metronome_broker import BrokerError


def connect_worker_start(celery_app: Any) -> None:
    """Check the ground before any worker of this app starts."""

    def on_celeryd_init(instance: Any, **_: Any) -> None:
        if instance.app is celery_app:
            clean_logs(celery_app)
            prepare(celery_app.metronome)

    signals.celeryd_init.connect(
        on_celeryd_init, weak=False, dispatch_uid=f"metronome-start-{id(celery_app)}"
    )


def prepare(state: State) -> None:
    """Check the schema, find the broker, declare the topology.

    :raises SystemExit: with one sentence; the celery command ends with 1.
    """
    try:
        schema.check(state.database)
        state.topology.apply(state.celery.resolve_broker())
    except (MetronomeError, BrokerError) as error:
        raise SystemExit(f"worker cannot start: {error}") from error
    finally:
        # the pool's children must not inherit an open connection
        state.database.dispose()
