"""What peers write into a field, read as the value it stands for."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from celery.schedules import crontab
from kombu.utils.json import dumps

from flask_metronome.celery_cadence import cadence_from_celery
from flask_metronome.core.cadence import Cadence
from flask_metronome.errors import CadenceInvalid, ScheduleInvalid


def json_list(field: str, text: Any) -> tuple[Any, ...]:
    """A JSON list; nothing is an empty one.

    :raises ScheduleInvalid: it is something else.
    """
    found = _json(field, text, "a JSON list") if text else []
    if not isinstance(found, list):
        raise ScheduleInvalid(field, "a JSON list", text)
    return tuple(found)


def json_object(field: str, text: Any) -> dict[str, Any]:
    """A JSON object; nothing is an empty one.

    :raises ScheduleInvalid: it is something else.
    """
    found = _json(field, text, "a JSON object") if text else {}
    if not isinstance(found, dict):
        raise ScheduleInvalid(field, "a JSON object", text)
    return found


def _json(field: str, text: Any, expected: str) -> Any:
    try:
        return json.loads(text)
    except (TypeError, ValueError):
        raise ScheduleInvalid(field, expected, text) from None


def sayable(field: str, value: Any) -> Any:
    """The value in JSON's kinds; instants and the like as Celery's messages have them.

    :raises ScheduleInvalid: a message cannot carry it.
    """
    try:
        return json.loads(dumps(value))
    except (TypeError, ValueError):
        raise ScheduleInvalid(field, "what JSON can say", value) from None


def instant(field: str, value: Any) -> datetime | None:
    """An instant of a database or of ISO text; without an offset it is UTC.

    :raises ScheduleInvalid: it is something else.
    """
    if value is None or value == "":
        return None
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise ScheduleInvalid(field, "an instant", value) from None
    return moment if moment.utcoffset() is not None else moment.replace(tzinfo=UTC)


def seconds(field: str, value: Any) -> float | None:
    """A duration; zero is none, as the peers read it.

    :raises ScheduleInvalid: it is no number of seconds.
    """
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if value is None or value == 0:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ScheduleInvalid(field, "a number of seconds", value)
    return value


def crontab_cadence(tz: str, **fields: Any) -> Cadence:
    """The cadence of a crontab by Celery's names of its five fields.

    :raises CadenceInvalid: Celery or cron cannot read it.
    """
    try:
        # Celery's own reader, because it knows words that cron does not
        found = crontab(**{name: _close(value) for name, value in fields.items()})
    except Exception as error:
        # Celery's ParseException is a plain Exception
        raise CadenceInvalid(
            "crontab", f"what Celery reads ({error})", fields
        ) from None
    return cadence_from_celery(found, tz=tz)


def _close(value: Any) -> Any:
    return value.replace(" ", "") if isinstance(value, str) else value
