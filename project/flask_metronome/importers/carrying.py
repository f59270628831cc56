"""Brings what was read from a peer into the database, or says what would be."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection

from flask_metronome.core.schedule import Definition, Schedule
from flask_metronome.declarations import key_of
from flask_metronome.errors import InputInvalid
from flask_metronome.importers.imported import CannotCarry, Found, ImportedSchedule
from flask_metronome.importers.lanes import LaneChoice
from flask_metronome.importers.verdict import Verdict, verdict_of
from flask_metronome.operations import Operations
from flask_metronome.state import State
from flask_metronome.store import imported as store

#: Schedules written in one transaction, so that beats never wait long.
_BATCH = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class Carried:
    """One row of the report.

    :param name: the peer's name for the schedule.
    :param when: its cadence for people.
    :param reason: why it was not carried over, or not all the way.
    :param lost: what of it was left behind.
    """

    name: str
    verdict: Verdict
    key: str | None = None
    task: str | None = None
    lane: str | None = None
    when: str | None = None
    paused: bool = False
    reason: str | None = None
    lost: tuple[str, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Whether nothing of it was left behind that still matters."""
        failed = self.verdict in (Verdict.CONFLICT, Verdict.CANNOT)
        return not failed and not (self.lost and self.verdict is not Verdict.OVER)


@dataclass(frozen=True, kw_only=True, slots=True)
class Importing:
    """How an import goes about it.

    :param lanes: which lane a queue becomes.
    :param overwrite: whether schedules of other owners, and edits, are overwritten.
    :param dry_run: whether nothing is written.
    """

    state: State
    lanes: LaneChoice
    who: str
    overwrite: bool = False
    dry_run: bool = False

    def carry(self, found: Sequence[Found]) -> list[Carried]:
        """Take in what was found; doing it twice changes nothing.

        Each schedule is due for the first time after the database's now, however
        long ago the peer ran it. Whether it is paused is taken from the peer only
        when it is new here: who moves from one beat to another switches it off there.
        """
        rows: list[Carried] = []
        keys: dict[str, str] = {}
        for start in range(0, len(found), _BATCH):
            with self._connected() as connection:
                now = self.state.database.now(connection)
                rows += [
                    self._row(connection, one, keys, now)
                    for one in found[start : start + _BATCH]
                ]
        return rows

    def _connected(self) -> AbstractContextManager[Connection]:
        database = self.state.database
        return database.read() if self.dry_run else database.begin()

    def _row(
        self, connection: Connection, found: Found, keys: dict[str, str], now: datetime
    ) -> Carried:
        if isinstance(found, CannotCarry):
            verdict = Verdict.OVER if found.over else Verdict.CANNOT
            return Carried(name=found.name, verdict=verdict, reason=found.reason)
        row = Carried(
            name=found.name,
            verdict=Verdict.CANNOT,
            key=key_of(found.name),
            task=found.task,
            when=found.cadence.words(),
            paused=found.paused is not None,
            lost=found.lost,
        )
        other = keys.setdefault(str(row.key), found.name)
        if other != found.name:
            return replace(row, reason=f"{other!r} of the same source has this key")
        try:
            lane = self.lanes.lane_of(found)
            row = replace(row, lane=lane)
            definition = self._definition(found, str(row.key), lane)
            return self._taken_in(connection, row, found, definition, now)
        except InputInvalid as error:
            return replace(row, reason=str(error))

    def _definition(self, found: ImportedSchedule, key: str, lane: str) -> Definition:
        definition = Definition(
            # the lane of the source goes before the task's own
            **(self.state.defaults_for(found.task) | {"lane": lane}),
            key=key,
            task=found.task,
            cadence=found.cadence,
            args=found.args,
            kwargs=found.kwargs,
            description=found.description,
            start_at=found.start_at,
            end_at=found.end_at,
            max_runs=found.max_runs,
            start_deadline_seconds=found.start_deadline_seconds,
            options=found.options,
            # the peers do not look whether the run before is still going
            overlap="allow",
        )
        Operations(self.state).check(definition)
        return definition

    def _taken_in(
        self,
        connection: Connection,
        row: Carried,
        found: ImportedSchedule,
        definition: Definition,
        now: datetime,
    ) -> Carried:
        there = store.find(connection, definition.key, lock=not self.dry_run)
        verdict, reason = verdict_of(there, definition, replace=self.overwrite)
        writes = verdict in (Verdict.NEW, Verdict.CHANGED)
        if writes and definition.timing.next_after(now) is None:
            return replace(row, verdict=Verdict.OVER, reason="it is never due again")
        if writes and not self.dry_run:
            self._write(connection, there, found, definition, now)
        return replace(row, verdict=verdict, reason=reason)

    def _write(
        self,
        connection: Connection,
        there: Schedule | None,
        found: ImportedSchedule,
        definition: Definition,
        now: datetime,
    ) -> None:
        if there is None:
            store.add(
                connection, definition, paused=found.paused, who=self.who, now=now
            )
            return
        store.change(
            connection,
            there,
            definition,
            keep_edits=not self.overwrite,
            paused=found.paused if there.owner != store.OWNER else None,
            who=self.who,
            now=now,
        )
