"""What is told to the outside: the bodies of run and incident events, version 1.

One shape for all: ``version``, ``id``, ``type``, ``timestamp``, ``data``; the
JSON Schema beside this file, ``event.schema.json``, says what is in them. The
same event has the same id however often it is sent.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from flask_metronome.core.run import RUN_NAMESPACE, iso_utc

VERSION = 1
#: Most bytes of a routing key in AMQP.
_ROUTING_KEY = 255

RUN_FIELDS = (
    "origin",
    "due_at",
    "task",
    "lane",
    "state",
    "reason",
    "missed_from",
    "missed_to",
    "missed_count",
    "started_at",
    "finished_at",
    "runtime_seconds",
    "retries",
    "worker",
    "error_type",
    "error",
)
INCIDENT_FIELDS = (
    "kind",
    "state",
    "cause",
    "lane",
    "opened_at",
    "closed_at",
    "close_reason",
    "bad_since",
    "last_due_at",
    "bad_count",
    "first_run",
    "last_run",
    "happened",
    "last_good_at",
    "last_good_run",
    "acknowledged_by",
    "acknowledged_at",
    "note",
)


def run_event(run: Mapping[str, Any], state: str, now: datetime) -> dict[str, Any]:
    """The event that a run has come to a state.

    :param run: the columns of its row.
    :param state: the run's, or ``missed`` while it is still open.
    """
    kind = f"run.{state}"
    data = {"run": run["id"], "schedule": run["schedule_key"]}
    data |= {name: plain(run[name]) for name in RUN_FIELDS} | {"state": state}
    ended = "" if run["finished_at"] is None else iso_utc(run["finished_at"])
    # a run that was lost and planned again may end twice
    name = f"{kind}|{run['id']}|{ended if state != 'missed' else ''}"
    return _event(name, kind, now, data)


def incident_event(
    incident: Mapping[str, Any],
    what: str,
    now: datetime,
    *,
    more: Mapping[str, Any],
    turn: int = 0,
) -> dict[str, Any]:
    """The event that something became of an incident.

    :param what: opened, reminder, flapping, closed or acknowledged.
    :param more: further fields of ``data``.
    :param turn: tells repetitions apart.
    """
    kind = f"incident.{what}"
    data = {"incident": incident["id"], "schedule": incident["schedule_key"]}
    data |= {name: plain(incident[name]) for name in INCIDENT_FIELDS} | dict(more)
    return _event(f"{kind}|{incident['id']}|{turn}", kind, now, data)


def _event(
    name: str, kind: str, now: datetime, data: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "version": VERSION,
        "id": str(uuid.uuid5(RUN_NAMESPACE, name)),
        "type": kind,
        "timestamp": iso_utc(now),
        "data": dict(data),
    }


def run_routing_key(state: str, lane: str, schedule_key: str) -> str:
    """``run.<state>.<lane>.<schedule>``; a key's dots are colons."""
    return _cut(f"run.{state}.{lane}.{_word(schedule_key)}")


def incident_routing_key(what: str, kind: str, subject: str) -> str:
    """``incident.<what>.<kind>.<schedule or cause>``."""
    return _cut(f"incident.{what}.{kind}.{_word(subject)}")


def _word(text: str) -> str:
    return text.replace(".", ":")


def _cut(key: str) -> str:
    return key[:_ROUTING_KEY]


def plain(value: Any) -> Any:
    """A column's value as JSON has it."""
    return iso_utc(value) if isinstance(value, datetime) else value
