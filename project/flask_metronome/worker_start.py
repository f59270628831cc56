"""What a worker makes sure of before it consumes: database, broker, topology."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from typing import Any

from celery import signals

from flask_metronome import schema
from flask_metronome.errors import InputInvalid, MetronomeError, UnknownLane
from flask_metronome.shown import clean_logs
from flask_metronome.state import State
from metronome_broker import BrokerError

logger = logging.getLogger(__name__)

#: Celery's name of the options that select queues, as a person types them.
_SELECTING = {"queues": "-Q", "exclude_queues": "-X"}


def connect_worker_start(celery_app: Any) -> None:
    """Check the ground before any worker of this app starts."""

    def on_celeryd_init(instance: Any, options: Any = None, **_: Any) -> None:
        if instance.app is celery_app:
            clean_logs(celery_app)
            prepare(celery_app.metronome, options or {})

    signals.celeryd_init.connect(
        on_celeryd_init, weak=False, dispatch_uid=f"metronome-start-{id(celery_app)}"
    )


def prepare(state: State, options: Mapping[str, Any]) -> None:
    """Check queues and schema, find the broker, declare the topology.

    :param options: what the worker was called with, by Celery's names.
    :raises SystemExit: after one sentence; 2 for bad input, 1 for a failure.
    """
    try:
        check_queues(state.celery, options)
        schema.check(state.database)
        state.topology.apply(state.celery.resolve_broker())
    except InputInvalid as error:
        print(f"worker cannot start: {error}", file=sys.stderr)
        raise SystemExit(2) from error
    except (MetronomeError, BrokerError) as error:
        raise SystemExit(f"worker cannot start: {error}") from error
    except Exception as error:
        # Celery's signals log what a receiver raises and go on: not without this
        logger.exception("The ground could not be checked.")
        raise SystemExit(f"worker cannot start: {error!r}") from error
    finally:
        # the pool's children must not inherit an open connection
        state.database.dispose()


def check_queues(celery_app: Any, options: Mapping[str, Any]) -> None:
    """Whether the queues to consume from, and not to, are those of lanes.

    :raises UnknownLane: naming the option, the known queues and the wrong one.
    """
    # tasks bring their lanes along: all modules first, also those of -I
    for module in _words(options.get("include")):
        celery_app.loader.import_task_module(module)
    celery_app.load_tasks()
    queues = celery_app.amqp.queues
    # a lane is said by its own name, or by its queue's
    known = [queue.alias or name for name, queue in queues.items()]
    for option, typed in _SELECTING.items():
        for name in _words(options.get(option)):
            if name not in known and name not in queues:
                raise UnknownLane(typed, "some of " + ", ".join(known), name)


def _words(given: Any) -> list[str]:
    # as typed with commas, or a list already
    words = given.split(",") if isinstance(given, str) else given or ()
    return [str(word).strip() for word in words if str(word).strip()]
