"""What people do about incidents, each in a transaction of its own."""

from __future__ import annotations

from datetime import datetime

from flask_metronome.messenger import events_of
from flask_metronome.operations import NOBODY
from flask_metronome.state import State
from flask_metronome.store import incidents, mutes
from flask_metronome.store.mutes import Mute


class IncidentOperations:
    """Acknowledging, closing and muting, for one app."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._database = state.database
        self._telling = events_of(state.settings)

    def acknowledge(
        self, incident_id: str, *, note: str | None = None, who: str = NOBODY
    ) -> None:
        """Take note of an incident, so that nobody is reminded of it.

        :raises NotFound: there is no such incident.
        :raises Conflict: it is closed.
        """
        with self._database.begin() as connection:
            incidents.acknowledge(
                connection,
                incident_id,
                note=note,
                who=who,
                now=self._database.now(connection),
                telling=self._telling,
            )

    def close(
        self, incident_id: str, *, note: str | None = None, who: str = NOBODY
    ) -> None:
        """Close an incident, and its parts; it opens anew with the next bad run.

        :raises NotFound: there is no such incident.
        :raises Conflict: it is closed already.
        """
        with self._database.begin() as connection:
            incidents.close_by_hand(
                connection,
                incident_id,
                note=note,
                who=who,
                now=self._database.now(connection),
                telling=self._telling,
            )

    def mute(
        self,
        scope: str,
        *,
        from_at: datetime | None = None,
        until_at: datetime | None = None,
        reason: str | None = None,
        who: str = NOBODY,
    ) -> Mute:
        """Record the incidents of a scope, and tell nobody.

        :param scope: ``*``, ``schedule:<key>`` or ``lane:<lane>``.
        :param from_at: default: now.
        :param until_at: default: until :meth:`unmute`.
        :raises InputInvalid: no such scope, schedule or lane, or a span that is
            over or empty.
        """
        self._state.celery.load_tasks()
        with self._database.begin() as connection:
            return mutes.add(
                connection,
                scope=scope,
                lanes=self._state.lanes,
                from_at=from_at,
                until_at=until_at,
                reason=reason,
                who=who,
                now=self._database.now(connection),
            )

    def unmute(self, mute_id: str, *, who: str = NOBODY) -> None:
        """End a mute.

        :raises NotFound: there is none, or it is over.
        """
        with self._database.begin() as connection:
            now = self._database.now(connection)
            mutes.end(connection, mute_id, who=who, now=now)
