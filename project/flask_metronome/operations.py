"""What people do to schedules and runs, each in a transaction of its own.

The facade behind the API, the command line and ``metronome.schedules``.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from flask_metronome.core.cadence import Cadence
from flask_metronome.core.schedule import Definition, Schedule
from flask_metronome.errors import UnknownLane, UnknownTask
from flask_metronome.revocation import stop_bodies
from flask_metronome.shown import as_meant
from flask_metronome.state import State
from flask_metronome.store import declared as declared_store
from flask_metronome.store import requests, schedules
from flask_metronome.store.declared import SyncReport

#: Who did it, when nobody said.
NOBODY = "unknown"


class Operations:
    """Everything that changes schedules and runs, for one app."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._database = state.database

    def check(self, definition: Definition) -> None:
        """Whether the app knows the task and the lane that it names.

        :raises UnknownTask: the Celery app has no such task.
        :raises UnknownLane: the topology has no such lane.
        """
        celery = self._state.celery
        celery.load_tasks()
        if definition.task not in celery.tasks:
            raise UnknownTask("task", _known_tasks(celery), definition.task)
        if definition.lane not in self._state.lanes:
            raise UnknownLane(
                "lane", "one of " + ", ".join(self._state.lanes), definition.lane
            )

    def get(self, key: str) -> Schedule:
        """The schedule of that key; :raises NotFound: when there is none."""
        with self._database.read() as connection:
            return schedules.get(connection, key)

    def define(self, values: Mapping[str, Any]) -> Definition:
        """A definition in which what is not said is the app's default.

        :param values: as for :meth:`Definition.from_dict`; the cadence may be one.
        :raises ScheduleInvalid: a field is unknown, missing or wrong.
        :raises CadenceInvalid: the cadence cannot be understood.
        """
        self._state.celery.load_tasks()
        defaults = self._state.defaults_for(str(values.get("task")))
        said = {k: v for k, v in values.items() if v is not None or k not in defaults}
        if "grace_seconds" in values:
            # None is a value: derived from the interval
            said["grace_seconds"] = values["grace_seconds"]
        if isinstance(said.get("cadence"), Cadence):
            said["cadence"] = said["cadence"].to_dict()
        return Definition.from_dict(defaults | said)

    def add(
        self,
        definition: Definition | None = None,
        *,
        who: str = NOBODY,
        owner: str = "api",
        **fields: Any,
    ) -> Schedule:
        """Add a schedule; see :func:`flask_metronome.store.schedules.add`.

        :param definition: taken as it is; or give its fields, as for :meth:`define`.
        """
        if definition is None:
            definition = self.define(fields)
        elif fields:
            raise TypeError("add takes a Definition or its fields, not both")
        self.check(definition)
        definition = as_meant(self._state.celery, definition, None)
        with self._database.begin() as connection:
            now = self._database.now(connection)
            return schedules.add(connection, definition, owner=owner, who=who, now=now)

    def replace(
        self,
        key: str,
        definition: Definition,
        *,
        who: str = NOBODY,
        expected_revision: int | None = None,
    ) -> Schedule:
        """Say a schedule differently; its past stays as it was.

        Where it says ``[redacted]``, as the schedule is shown, what is stored stays.
        """
        self.check(definition)
        with self._database.begin() as connection:
            old = schedules.said(connection, key)
            definition = as_meant(self._state.celery, definition, old)
            return schedules.replace_definition(
                connection,
                key,
                definition,
                who=who,
                now=self._database.now(connection),
                expected_revision=expected_revision,
            )

    def pause(
        self, key: str, *, reason: str | None = None, who: str = NOBODY
    ) -> Schedule:
        """Stop planning a schedule until it is resumed."""
        with self._database.begin() as connection:
            now = self._database.now(connection)
            return schedules.pause(connection, key, reason=reason, who=who, now=now)

    def resume(self, key: str, *, who: str = NOBODY) -> Schedule:
        """Plan a paused schedule again, from its next due time on."""
        with self._database.begin() as connection:
            now = self._database.now(connection)
            return schedules.resume(connection, key, who=who, now=now)

    def remove(
        self, key: str, *, who: str = NOBODY, expected_revision: int | None = None
    ) -> bool:
        """Delete a schedule, or retire it when it has history; whether deleted."""
        with self._database.begin() as connection:
            return schedules.remove(
                connection,
                key,
                who=who,
                now=self._database.now(connection),
                expected_revision=expected_revision,
            )

    def trigger(
        self,
        key: str,
        *,
        idempotency_key: str | None = None,
        args: list[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        who: str = NOBODY,
    ) -> str:
        """Run a schedule's task now; the run's id.

        :param args: instead of the schedule's; ``[redacted]``, as that is shown,
            stands for what is stored. So do ``kwargs``.
        """
        given: dict[str, Any] = {"args": args, "kwargs": kwargs}
        given = {name: value for name, value in given.items() if value is not None}
        with self._database.begin() as connection:
            if given:
                old = schedules.get(connection, key).definition
                asked = Definition.from_dict(old.to_dict() | given)
                meant = as_meant(self._state.celery, asked, old).to_dict()
                given = {name: meant[name] for name in given}
            return requests.trigger(
                connection,
                key,
                idempotency_key=idempotency_key,
                **given,
                who=who,
                now=self._database.now(connection),
            )

    def rerun(
        self, run: str, *, idempotency_key: str | None = None, who: str = NOBODY
    ) -> str:
        """Run again what an ended run did; the new run's id."""
        with self._database.begin() as connection:
            return requests.rerun(
                connection,
                run,
                idempotency_key=idempotency_key,
                who=who,
                now=self._database.now(connection),
            )

    def backfill(
        self,
        key: str,
        *,
        after: datetime,
        until: datetime,
        name: str | None = None,
        rate_per_second: float = 1.0,
        in_flight: int = 10,
        who: str = NOBODY,
    ) -> int:
        """Make runs for the due times of a past range; how many are new."""
        with self._database.begin() as connection:
            return requests.backfill(
                connection,
                key,
                after=after,
                until=until,
                name=name,
                who=who,
                now=self._database.now(connection),
                rate_per_second=rate_per_second,
                in_flight=in_flight,
            )

    def cancel(self, run: str, *, who: str = NOBODY) -> bool:
        """Cancel an open run, also while its body runs; whether it was open."""
        with self._database.begin() as connection:
            now = self._database.now(connection)
            was_open = requests.cancel(connection, run, who=who, now=now)
        if was_open:
            stop_bodies(self._state, [run])
        return was_open

    def sync(
        self, definitions: Mapping[str, Definition], *, owner: str = "code"
    ) -> SyncReport:
        """Bring what the code declares into the database."""
        with self._database.begin() as connection:
            now = self._database.now(connection)
            return declared_store.sync(connection, definitions, owner=owner, now=now)


def sync_declared(state: State) -> list[SyncReport]:
    """Bring what the app's code declares into its database.

    :returns: one report per owner.
    :raises InputInvalid: a declared schedule does not make sense.
    """
    operations = Operations(state)
    declared: dict[str, dict[str, Definition]] = state.declared()
    return [
        operations.sync(definitions, owner=owner)
        for owner, definitions in declared.items()
    ]


def _known_tasks(celery: Any) -> str:
    names = sorted(name for name in celery.tasks if not name.startswith("celery."))
    if not names:
        return "a task of this app, which has none"
    shown = ", ".join(names[:10]) + (", …" if len(names) > 10 else "")
    return f"one of {shown}"
