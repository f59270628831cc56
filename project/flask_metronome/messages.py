"""A run as a Celery message: what any Celery worker understands, plus our headers."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from kombu.serialization import dumps

from flask_metronome.core.run import iso_utc
from flask_metronome.state import State
from flask_metronome.store.outbox import OutboxRow
from metronome_broker import OutboundMessage, routing_key

#: A message that is due to die is given at least this long, milliseconds.
_LEAST_EXPIRATION_MS = 1


def message_of(row: OutboxRow, state: State, now: datetime | None) -> OutboundMessage:
    """The message of a run, with the run's id as task id.

    :param now: needed where the run has a deadline.
    :raises ValueError: the arguments cannot be written as JSON.
    :raises BrokerError: the lane or the task's name makes no routing key.
    """
    celery = state.celery
    options = row.options
    message = celery.amqp.as_task_v2(
        row.id,
        row.task,
        args=tuple(row.args),
        kwargs=dict(row.kwargs),
        retries=row.retries,
        expires=row.deadline_at,
        time_limit=options.get("time_limit"),
        soft_time_limit=options.get("soft_time_limit"),
        origin="metronome-beat",
        # the task says itself; Celery's default here, False, would overrule it
        ignore_result=None,
        create_sent_event=False,
    )
    content_type, encoding, body = dumps(message.body, serializer="json")
    return OutboundMessage(
        run_id=row.id,
        exchange=state.topology.run_exchange,
        routing_key=routing_key(row.lane, row.task),
        body=body if isinstance(body, bytes) else body.encode(),
        content_type=content_type,
        content_encoding=encoding,
        headers=_headers(row, message.headers, options),
        properties=_properties(row, message.properties, options, now),
    )


def _headers(
    row: OutboxRow, celerys: dict[str, Any], options: dict[str, Any]
) -> dict[str, Any]:
    users = dict(options.get("headers") or {})
    ours = {
        "metronome_schedule": row.schedule_key,
        "metronome_run": row.id,
        "metronome_due_at": iso_utc(row.due_at),
        "metronome_origin": row.origin,
        "metronome_catchup": row.catchup,
        "metronome_missed_count": row.missed_count,
    }
    return users | celerys | ours


def _properties(
    row: OutboxRow,
    celerys: dict[str, Any],
    options: dict[str, Any],
    now: datetime | None,
) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "correlation_id": row.id,
        "reply_to": celerys.get("reply_to") or None,
        "priority": options.get("priority"),
    }
    if row.deadline_at is not None and now is not None:
        left = int((row.deadline_at - now).total_seconds() * 1000)
        properties["expiration_ms"] = max(left, _LEAST_EXPIRATION_MS)
    return properties
