"""What is told of incidents and runs: messages for the outbox, in one transaction
with what they tell of."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, and_, select

from flask_metronome.core.event import (
    incident_event,
    incident_routing_key,
    run_event,
    run_routing_key,
)
from flask_metronome.core.notice import notice_of
from flask_metronome.core.run import RUN_NAMESPACE, RunState
from flask_metronome.models import incidents, runs
from flask_metronome.store import message_outbox

_MOST_MEMBERS = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class Telling:
    """Who is told, and what.

    :param channels: the ids of the channels of notifications.
    :param events: whether events are published.
    :param pages_url: where the pages are for whoever reads a notification.
    """

    channels: tuple[str, ...] = ()
    events: bool = False
    pages_url: str | None = None

    def runs(
        self,
        connection: Connection,
        rows: Iterable[Mapping[str, Any]],
        now: datetime,
        *,
        state: str | None = None,
    ) -> None:
        """Publish that these runs came to their state, or to the one named."""
        if not self.events:
            return
        found = []
        for run in rows:
            said = state or run["state"]
            body = run_event(run, said, now)
            key = run_routing_key(said, run["lane"], run["schedule_key"])
            found.append(
                message_outbox.row(
                    id=body["id"],
                    kind=message_outbox.EVENT,
                    destination=key,
                    body=body,
                    now=now,
                )
            )
        message_outbox.add(connection, found)

    def event(
        self,
        connection: Connection,
        incident: Mapping[str, Any],
        what: str,
        now: datetime,
    ) -> None:
        """Publish that something became of an incident."""
        if not self.events:
            return
        body = incident_event(incident, what, now, more=self._more(incident))
        subject = incident["schedule_key"] or incident["cause"] or ""
        key = incident_routing_key(what, incident["kind"], subject)
        message = message_outbox.row(
            id=body["id"],
            kind=message_outbox.EVENT,
            destination=key,
            body=body,
            now=now,
            incident_id=incident["id"],
        )
        message_outbox.add(connection, [message])

    def notice(
        self,
        connection: Connection,
        incident: Mapping[str, Any],
        what: str,
        now: datetime,
        *,
        turn: int = 0,
    ) -> None:
        """Notify every channel, once for each turn."""
        if not self.channels:
            return
        members = members_of(connection, incident)
        more = self._more(incident) | {"schedules": members}
        notice = notice_of(incident, what, now, link=more["link"], members=members)
        more |= {"title": notice.title, "text": notice.text}
        body = incident_event(incident, what, now, more=more, turn=turn)
        message_outbox.add(
            connection,
            [
                message_outbox.row(
                    id=str(uuid.uuid5(RUN_NAMESPACE, f"{body['id']}|{channel}")),
                    kind=message_outbox.NOTICE,
                    destination=channel,
                    body=body,
                    now=now,
                    incident_id=incident["id"],
                )
                for channel in self.channels
            ],
        )

    def _more(self, incident: Mapping[str, Any]) -> dict[str, Any]:
        if self.pages_url is None:
            return {"link": None}
        return {"link": f"{self.pages_url}/incidents/{incident['id']}"}


def members_of(connection: Connection, incident: Mapping[str, Any]) -> list[str]:
    """The schedules that are part of an incident of many, or wait in its lane."""
    if incident["schedule_key"] is not None:
        return []
    key = incidents.c.schedule_key
    parts = _named(connection, key, incidents.c.part_of == incident["id"])
    if parts or not incident["lane"]:
        return parts
    waiting = and_(
        runs.c.state.in_((RunState.PUBLISHED, RunState.RECEIVED)),
        runs.c.lane == incident["lane"],
        runs.c.late,
    )
    return _named(connection, runs.c.schedule_key, waiting)


def _named(
    connection: Connection, key: Column[str], which: ColumnElement[bool]
) -> list[str]:
    statement = select(key).where(which).distinct().order_by(key).limit(_MOST_MEMBERS)
    return list(connection.scalars(statement))
