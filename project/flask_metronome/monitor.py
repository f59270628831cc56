"""The monitor: finds what did not happen, by the database's clock.

Any number of monitors may run; one of them, elected by a fenced lease, sweeps.
A sweep is a row of chores, each in short transactions of its own that check
the lease first, so a monitor that slept past its time changes nothing.

When nobody has been watching (the first start, or the database or every
monitor was away) the monitor lets things settle before it judges: beats get a
moment to decide what was due, workers time to renew their leases. Nothing is
called missed, lost or stuck only because nobody could write. The period itself
is kept as unknown (:mod:`flask_metronome.core.unknown`).
"""

from __future__ import annotations

import logging
import random
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from flask_metronome.core.unknown import (
    ABSENCE_SECONDS,
    MONITOR_LEASE,
    UnknownCause,
)
from flask_metronome.database import Database, is_disconnect
from flask_metronome.errors import DatabaseUnreachable
from flask_metronome.messenger import telling_of
from flask_metronome.settings import Settings
from flask_metronome.store import (
    counters,
    judging,
    leases,
    losses,
    message_outbox,
    overdue,
    retention,
    returns,
    sightings,
    sweeps,
    unknown,
    watching,
)

_log = logging.getLogger(__name__)

SETTLING = "monitor.settling"
#: The lease of a monitor that died is free after this, so that with the pause
#: of the next one a deadline is noticed within ten seconds all the same.
LEASE_TTL_SECONDS = 6.0
#: After an absence beats decide first what was due meanwhile.
SETTLE_BEATS_SECONDS = 10.0
#: After an absence workers renew their leases first: so many leases long.
SETTLE_LEASES = 1.5
#: How often old history is looked for.
PRUNE_SECONDS = 600.0
_MOST_ROUNDS = 20
_LONGEST_BACKOFF_SECONDS = 5.0

Step = Callable[[Connection, datetime], int]
Chore = Callable[[], int]


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepReport:
    """What one sweep did.

    :param elected: whether this monitor held the lease; if not, all is zero.
    :param changed: chore → rows changed.
    :param failed: chores that met an error; it was logged.
    """

    elected: bool
    changed: Mapping[str, int] = field(default_factory=dict)
    failed: tuple[str, ...] = ()

    def __getitem__(self, chore: str) -> int:
        """The rows that a chore changed."""
        return self.changed.get(chore, 0)


class Monitor:
    """Sweeps one database.

    :param batch: rows one transaction changes at the most.
    :param holder: this monitor's id in the lease; by default a new one.
    :raises SettingInvalid: a channel of notifications is set up wrong.
    """

    def __init__(
        self,
        database: Database,
        settings: Settings,
        *,
        batch: int = 200,
        holder: str | None = None,
    ) -> None:
        self._database = database
        self._settings = settings
        self._batch = batch
        self._holder = holder or str(uuid.uuid4())
        self._lease: leases.Lease | None = None
        self._sightings = sightings.Sightings()
        self._recounts = overdue.Recounts()
        self._next_prune: datetime | None = None
        self._why_absent = UnknownCause.NO_MONITOR
        self._has_backlog = False
        self._telling = telling_of(settings)
        self._rules = sightings.LossRules(
            lease_seconds=settings.lease_seconds,
            most_attempts=settings.delivery_limit,
        )

    def sweep(self) -> SweepReport:
        """Do every chore once, if this monitor is elected.

        :raises DatabaseUnreachable: when the database is away; a later sweep
            picks up where this one ended.
        """
        with self._database.begin() as connection:
            now = self._database.now(connection)
            self._lease = leases.acquire(
                connection,
                MONITOR_LEASE,
                holder=self._holder,
                ttl_seconds=self._ttl_seconds,
                now=now,
            )
            if self._lease is None:
                self._sightings = sightings.Sightings()
                self._recounts = overdue.Recounts()
                return SweepReport(elected=False)
            watching_since, settled_at = self._settle(connection, now)
        chores = self._chores(now, watching_since, settled_at)
        return self._do(chores)

    def run(self, stop: threading.Event) -> None:
        """Sweep until told to stop; outlives outages of the database."""
        failures = 0
        while not stop.is_set():
            failures = 0 if self._swept(failures) else failures + 1
            stop.wait(self._pause_seconds(failures))
        self.resign()

    def _swept(self, failures: int) -> bool:
        try:
            self.sweep()
        except Exception as error:
            if not is_disconnect(error):
                _log.exception("sweep failed")
                return False
            # this monitor was there all the time, and could not see
            self._why_absent = UnknownCause.NO_DATABASE
            if not failures:
                _log.warning("the monitor waits for the database: %s", error)
            return False
        self._why_absent = UnknownCause.NO_MONITOR
        return True

    def resign(self) -> None:
        """Give the lease back, so that another monitor takes over at once."""
        if self._lease is None:
            return
        try:
            with self._database.begin() as connection:
                now = self._database.now(connection)
                leases.release(connection, self._lease, now=now)
        except Exception as error:
            _log.info("the monitor's lease runs out by itself: %s", error)
        self._lease = None

    # -- one sweep -----------------------------------------------------------

    @property
    def _ttl_seconds(self) -> float:
        return max(LEASE_TTL_SECONDS, 3 * self._settings.monitor_seconds)

    def _pause_seconds(self, failures: int) -> float:
        if not failures:
            return self._settings.monitor_seconds
        longest = min(_LONGEST_BACKOFF_SECONDS, 2.0 ** min(failures, 10) / 2)
        return longest * random.uniform(0.5, 1.0)

    def _settle(
        self, connection: Connection, now: datetime
    ) -> tuple[datetime, datetime]:
        """Since when somebody watches, and from when on leases are trusted."""
        last = self._lease.previously_touched_at if self._lease else None
        absence = timedelta(seconds=max(ABSENCE_SECONDS, 2 * self._ttl_seconds))
        if last is None or now - last > absence:
            if last is not None:
                unknown.record(
                    connection, since=last, until=now, cause=self._why_absent
                )
            lasts = timedelta(seconds=SETTLE_LEASES * self._settings.lease_seconds)
            leases.put(
                connection, SETTLING, holder=self._holder, now=now, until=now + lasts
            )
            return now, now + lasts
        period = leases.read(connection, SETTLING)
        return (period.touched_at, period.expires_at) if period else (now, now)

    def _chores(
        self, now: datetime, watching_since: datetime, settled_at: datetime
    ) -> dict[str, Chore]:
        """The chores of this sweep, in order; those that must wait are left out."""
        beats_returned = watching_since + timedelta(seconds=SETTLE_BEATS_SECONDS)
        chores: dict[str, Chore] = {}
        chores["settled"] = self._bounded(overdue.settle_provisional)
        if now >= beats_returned:
            chores["overdue"] = self._record_overdue
            chores["unpublished"] = self._bounded(sweeps.flag_unpublished)
        chores["expired"] = self._bounded(sweeps.expire)
        chores["late"] = self._bounded(sweeps.flag_late)
        chores["limits"] = self._bounded(sweeps.set_longest_runtimes)
        if now >= settled_at:
            # an end may still lie in a spool, and leases may be old news
            chores["overrun"] = self._bounded(sweeps.flag_overrun)
            chores["stuck"] = self._bounded(
                sweeps.flag_stuck, lease_seconds=self._settings.lease_seconds
            )
            looking = {"rules": self._rules, "sightings": self._sightings}
            chores["lost"] = self._bounded(losses.mark_lost, **looking)
            chores["returned"] = self._bounded(returns.return_unreceived, **looking)
        chores |= self._incidents(settled=now >= settled_at)
        chores["runs_folded"] = self._bounded(counters.fold_runs)
        chores["attempts_folded"] = self._bounded(counters.fold_attempts)
        if self._next_prune is None or now >= self._next_prune:
            self._next_prune = now + timedelta(seconds=PRUNE_SECONDS)
            chores |= self._prunes()
        return chores

    def _incidents(self, *, settled: bool) -> dict[str, Chore]:
        """What is missing before what has ended: a run is never counted twice."""
        telling = {"telling": self._telling}
        chores = {
            "pending": self._bounded(judging.judge_pending, **telling),
            "judged": self._judge,
            "stuck_told": self._bounded(watching.judge_stuck, **telling),
            "broken_told": self._bounded(watching.judge_broken, **telling),
            "over": self._bounded(watching.close_over, **telling),
        }
        if self._telling.events:
            chores["missed_told"] = self._bounded(judging.announce_missed, **telling)
        # one that opened a moment ago is closed first if it is over already
        if settled:
            since = self._rules.alive_since
            chores["lanes"] = self._transacted(
                lambda connection, now: watching.judge_lanes(
                    connection, now=now, alive_since=since(now), **telling
                )
            )
        chores["notified"] = self._notify
        return chores

    def _judge(self) -> int:
        lease = self._settings.lease_seconds
        judging_one = self._bounded(
            judging.judge, telling=self._telling, lease_seconds=lease
        )
        judged = judging_one()
        self._has_backlog = judged >= self._batch * _MOST_ROUNDS
        return judged

    def _notify(self) -> int:
        """Tell of what is open; not halfway through what ended long ago."""
        if self._has_backlog:
            return 0
        settings = self._settings
        return self._bounded(
            watching.notify,
            telling=self._telling,
            delay_seconds=settings.notify_delay_seconds,
            again_seconds=settings.notify_again_seconds,
        )()

    def _transacted(self, step: Step) -> Chore:
        return lambda: self._transaction(step)

    def _prunes(self) -> dict[str, Chore]:
        history, result = self._settings.history_days, self._settings.result_days
        sent = {
            message_outbox.EVENT: self._telling.events,
            message_outbox.NOTICE: bool(self._telling.channels),
        }
        unsent = tuple(kind for kind, wanted in sent.items() if not wanted)
        return {
            "runs_pruned": self._bounded(retention.prune_runs, days=history),
            "attempts_pruned": self._bounded(
                retention.prune_plain_attempts, days=history
            ),
            "results_pruned": self._bounded(retention.prune_results, days=result),
            "processes_pruned": self._bounded(retention.prune_processes),
            "incidents_pruned": self._bounded(retention.prune_incidents, days=history),
            "messages_pruned": self._bounded(message_outbox.prune, unsent=unsent),
        }

    def _bounded(self, step: Callable[..., int], **more: Any) -> Chore:
        """A chore in transactions of a batch each, until nothing is left."""

        def one(connection: Connection, now: datetime) -> int:
            return step(connection, batch=self._batch, now=now, **more)

        def chore() -> int:
            done = 0
            for _ in range(_MOST_ROUNDS):
                changed = self._transaction(one)
                done += changed
                if changed < self._batch:
                    break
            return done

        return chore

    def _record_overdue(self) -> int:
        """Page by page over the overdue schedules: a page a transaction."""
        written = 0
        after: str | None = ""
        seen: set[str] = set()

        def page(connection: Connection, now: datetime) -> int:
            nonlocal after
            found = overdue.record_overdue(
                connection,
                after_id=after or "",
                batch=self._batch,
                now=now,
                recounts=self._recounts,
                seen=seen,
            )
            after = found.last_id
            return found.written

        while after is not None:
            written += self._transaction(page)
        self._recounts.forget_but(seen)
        return written

    def _do(self, chores: Mapping[str, Chore]) -> SweepReport:
        changed: dict[str, int] = {}
        failed: list[str] = []
        for name, chore in chores.items():
            try:
                changed[name] = chore()
            except leases.LeaseLost:
                _log.info("another monitor sweeps now")
                self._lease = None
                break
            except Exception as error:
                if _is_away(error):
                    raise
                failed.append(name)
                _log.exception("the chore %s failed", name)
        if failed:
            self._count_failures(failed)
        return SweepReport(elected=True, changed=changed, failed=tuple(failed))

    def _count_failures(self, chores: Sequence[str]) -> None:
        with self._database.begin() as connection:
            key = counters.CounterKey
            name = counters.CHORE_FAILURES
            counters.add(connection, {key(name, "", chore): 1 for chore in chores})

    def _transaction(self, step: Step) -> int:
        lease = self._lease
        if lease is None:
            raise leases.LeaseLost(MONITOR_LEASE)
        with self._database.begin() as connection:
            now = self._database.now(connection)
            leases.hold(connection, lease, ttl_seconds=self._ttl_seconds, now=now)
            return step(connection, now)


def _is_away(error: BaseException) -> bool:
    """Whether the next chore would meet the same: the database does not answer.

    A lock that came too late or a cancelled statement is one chore's own.
    """
    if isinstance(error, DBAPIError):
        return error.connection_invalidated
    return isinstance(error, DatabaseUnreachable)
