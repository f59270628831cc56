"""The options of Celery's ``apply_async``, as parts of a schedule."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from flask_metronome.importers.written import instant, sayable, seconds

#: Options that a schedule has as well.
_KEPT = ("priority", "headers", "soft_time_limit", "time_limit")


def parts_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of an ``ImportedSchedule`` that follow from the options.

    A relative expiry is the message's life; an instant is the schedule's end,
    because every message after it would be dead.

    :raises ScheduleInvalid: an option has a value that makes no sense.
    """
    kept = {
        name: sayable(name, options[name])
        for name in _KEPT
        if options.get(name) is not None
    }
    expires = options.get("expires")
    ends = isinstance(expires, (datetime, str))
    queue = options.get("queue")
    return {
        # a name, or a Queue of kombu
        "queue": str(getattr(queue, "name", queue)) if queue else None,
        "options": kept,
        "start_deadline_seconds": None if ends else seconds("expires", expires),
        "end_at": instant("expires", expires) if ends else None,
        "lost": tuple(
            f"option {name}: a schedule has none such"
            for name, value in sorted(options.items())
            if name not in (*_KEPT, "expires", "queue") and value is not None
        ),
    }
