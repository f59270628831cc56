"""Anything in any order against the real store: what must hold all the same.

A machine for Hypothesis. It is run on SQLite (unit) and on PostgreSQL
(integration), with a clock that only it moves. Beside the database it keeps an
account of its own: which definition was in force when, what is on the wire,
which bodies run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from sqlalchemy import delete, select
from store_account import (
    BEATS,
    DEFINITIONS,
    KEYS,
    LEASE_SECONDS,
    NUMBERS,
    OUTCOMES,
    RANK,
    START,
    STEPS,
    WORK,
    Epoch,
    Told,
)

from flask_metronome.core.claim import Delivery, Verdict
from flask_metronome.core.ending import Ending
from flask_metronome.core.run import AUTO, FINAL, OPEN, AttemptState, RunState, run_id
from flask_metronome.core.schedule import Definition
from flask_metronome.database import Database
from flask_metronome.errors import Conflict, NotFound
from flask_metronome.models import attempts, audit, counters, runs, schedules
from flask_metronome.store import claims, ends, outbox, requests
from flask_metronome.store import schedules as schedule_store
from flask_metronome.store.outbox import OutboxRow
from flask_metronome.store.ticks import tick
from flask_metronome.testing import SettableClock


class Crash(Exception):
    """The process ends here."""


class StoreMachine(RuleBasedStateMachine):
    """Beats, people, broker and workers, one action at a time."""

    database: ClassVar[Database]
    clock: ClassVar[SettableClock]

    @initialize(said=st.lists(DEFINITIONS, min_size=3, max_size=3))
    def begin(self, said: list[dict[str, Any]]) -> None:
        self.clock.set(START)
        with self.database.begin() as connection:
            for table in (attempts, runs, schedules, audit, counters):
                connection.execute(delete(table))
        self.told: dict[str, Told] = {}
        self.ticked = START
        self.said = 0
        self.hand: dict[str, list[OutboxRow]] = {beat: [] for beat in BEATS}
        self.unrecorded: list[Callable[[Any, datetime], None]] = []
        self.wire: list[tuple[str, int]] = []
        self.live: dict[str, tuple[int, int]] = {}
        self.starts: Counter[tuple[str, int]] = Counter()
        self.losses: Counter[tuple[str, int]] = Counter()
        self.states: dict[str, Any] = {}
        self.overlapped: set[str] = set()
        for key, fields in zip(KEYS, said, strict=True):
            self.say(key, fields)

    def do(self, work: Callable[..., Any], *args: Any, **fields: Any) -> Any:
        with self.database.begin() as connection:
            return work(connection, *args, now=self.clock.moment, **fields)

    def rows(self) -> list[Any]:
        with self.database.read() as connection:
            return list(connection.execute(select(runs).order_by(runs.c.due_at)))

    def define(self, key: str, fields: dict[str, Any]) -> Definition:
        """A definition with a lane of its own, to tell by whom a run was made."""
        self.said += 1
        return Definition(key=key, task="t", lane=f"l{self.said}", **fields)

    # -- people --------------------------------------------------------------

    @rule(key=st.sampled_from(KEYS), fields=DEFINITIONS)
    def says(self, key: str, fields: dict[str, Any]) -> None:
        self.say(key, fields)

    def say(self, key: str, fields: dict[str, Any]) -> None:
        """Add a schedule, or say it differently."""
        definition, now = self.define(key, fields), self.clock.moment
        fresh = Epoch(now, definition, loose=definition.max_runs is not None)
        if key not in self.told:
            made = self.do(schedule_store.add, definition, owner="api", who="t")
            self.told[key] = Told(made.id, [fresh])
            return
        told = self.told[key]
        new = self.do(schedule_store.replace_definition, key, definition, who="t")
        if told.epochs[-1].paused and new.state == "paused":
            told.epochs[-1].definition = definition
        else:
            told.begin(fresh)

    @rule(key=st.sampled_from(KEYS))
    def pause_or_resume(self, key: str) -> None:
        if key not in self.told:
            return
        told, now = self.told[key], self.clock.moment
        current = told.epochs[-1]
        if current.paused and current.until is None:
            self.do(schedule_store.resume, key, who="t")
            loose = current.definition.max_runs is not None
            told.begin(Epoch(now, current.definition, loose=loose))
            return
        try:
            self.do(schedule_store.pause, key, reason=None, who="t")
        except Conflict:
            return
        told.begin(Epoch(now, current.definition, paused=True))

    @rule(key=st.sampled_from(KEYS))
    def remove(self, key: str) -> None:
        if key not in self.told:
            return
        told = self.told[key]
        if self.do(schedule_store.remove, key, who="t"):
            # nothing had been due: a due time, decided or not, is history
            self.owes_nothing(told)
            del self.told[key]
            return
        if told.epochs[-1].until is None:
            told.epochs[-1].until = self.clock.moment

    def owes_nothing(self, told: Told) -> None:
        for epoch in told.epochs:
            until = epoch.until or self.clock.moment
            assert epoch.loose or epoch.timing.latest_in(epoch.since, until) is None

    @rule(key=st.sampled_from(KEYS), name=st.sampled_from("xy"), which=NUMBERS)
    def ask(self, key: str, name: str, which: int) -> None:
        """Run one now, and cancel another."""
        if self.states:
            self.do(requests.cancel, _pick(sorted(self.states), which), who="t")
        with suppress(NotFound, Conflict):
            self.do(requests.trigger, key, idempotency_key=name, who="t")

    # -- time and beats ------------------------------------------------------

    @rule(seconds=STEPS)
    def time_passes(self, seconds: float) -> None:
        self.clock.tick(seconds)

    @rule(
        seconds=STEPS,
        beat=st.sampled_from(BEATS),
        batch=st.integers(1, 4),
        outcomes=st.none() | OUTCOMES,
    )
    def turn(
        self, seconds: float, beat: str, batch: int, outcomes: list[str] | None
    ) -> None:
        self.clock.tick(seconds)
        self.tick(beat, batch)
        if outcomes:
            self.states_go_forward()
            self.publish_by(beat, outcomes, poll=True, late=False)

    def tick(self, beat: str, batch: int) -> None:
        for _ in range(20):
            report = self.do(tick, batch=batch, owner=beat, lease_seconds=LEASE_SECONDS)
            self.hand[beat] += report.outbox
            if not report.full:
                break
        assert not report.broken
        self.ticked = self.clock.moment

    @rule(seconds=STEPS, batch=st.integers(1, 4))
    def crash_before_commit(self, seconds: float, batch: int) -> None:
        self.clock.tick(seconds)
        before = self.rows()

        def crash(connection: Any, *, now: datetime) -> None:
            tick(connection, now=now, batch=batch, owner="dead", lease_seconds=30.0)
            raise Crash

        try:
            self.do(crash)
        except Crash:
            assert self.rows() == before

    @rule(seconds=STEPS, beat=st.sampled_from(BEATS), batch=st.integers(1, 4))
    def crash_after_commit(self, seconds: float, beat: str, batch: int) -> None:
        """What it had in hand is not published by it, nor recorded."""
        self.clock.tick(seconds)
        self.do(tick, batch=batch, owner=beat, lease_seconds=LEASE_SECONDS)
        self.hand[beat] = []

    # -- publishing ----------------------------------------------------------

    @rule(
        beat=st.sampled_from(BEATS),
        outcomes=OUTCOMES,
        poll=st.booleans(),
        late=st.booleans(),
    )
    def publish(self, beat: str, outcomes: list[str], poll: bool, late: bool) -> None:
        self.publish_by(beat, outcomes, poll=poll, late=late)

    def publish_by(
        self, beat: str, outcomes: list[str], *, poll: bool, late: bool
    ) -> None:
        rows, self.hand[beat] = self.hand[beat], []
        if poll or not rows:
            rows += self.claim_outbox(beat)
        by_run = {row.id: row for row in rows}
        fates: dict[str, list[str]] = {}
        for number, row in enumerate(by_run.values()):
            outcome = outcomes[number % len(outcomes)]
            fates.setdefault(outcome, []).append(row.id)
            if outcome in ("confirmed", "unrecorded", "unknown_sent"):
                self.wire.append((row.id, row.retries))

        def record(connection: Any, now: datetime) -> None:
            mine: dict[str, Any] = {"now": now, "owner": beat}
            outbox.record_published(connection, fates.get("confirmed", ()), **mine)
            unknown = fates.get("unknown_sent", []) + fates.get("unknown_unsent", [])
            outbox.release(connection, unknown, why="cut", **mine)
            for name, unroutable in (("nacked", False), ("returned", True)):
                refused = dict.fromkeys(fates.get(name, ()), name)
                outbox.record_refused(
                    connection, refused, unroutable=unroutable, **mine
                )

        if late:
            self.unrecorded.append(record)
        else:
            self.record(record)

    def claim_outbox(self, beat: str, limit: int = 10) -> list[OutboxRow]:
        found: list[OutboxRow] = self.do(
            outbox.claim, owner=beat, lease_seconds=LEASE_SECONDS, limit=limit
        )
        return found

    def record(self, record: Callable[[Any, datetime], None]) -> None:
        with self.database.begin() as connection:
            record(connection, self.clock.moment)

    @precondition(lambda self: self.unrecorded)
    @rule(which=NUMBERS)
    def record_late(self, which: int) -> None:
        """A publisher that was paused between publishing and recording goes on."""
        self.record(self.unrecorded.pop(which % len(self.unrecorded)))

    # -- workers -------------------------------------------------------------

    @rule(steps=WORK)
    def work(self, steps: list[tuple[str, int, AttemptState]]) -> None:
        """Workers receive, claim and end, in any order; messages come twice."""
        for what, which, how in steps:
            if what == "end" and self.live:
                self.finish(_pick(sorted(self.live), which), how)
            elif what != "end" and self.wire:
                self.deliver(what, which % len(self.wire))
            self.states_go_forward()

    def deliver(self, what: str, number: int) -> None:
        if what == "receive":
            self.do(claims.receive, [self.wire[number][0]])
            return
        keeps = what == "duplicate"
        self.claim(*(self.wire[number] if keeps else self.wire.pop(number)))

    def claim(self, run: str, retries: int) -> None:
        delivery = Delivery(
            run_id=run,
            task="t",
            retries=retries,
            redelivered=False,
            worker="w",
            worker_id=None,
            pid=1,
        )
        answer = self.do(claims.claim, delivery, lease_seconds=30.0)
        if answer.verdict is Verdict.OVERLAP:
            self.overlapped.add(run)
        if answer.verdict is not Verdict.CLAIM:
            return
        assert run not in self.live, "a body of this run is at work"
        self.live[run] = (answer.fence, retries)
        self.starts[run, retries] += 1
        assert self.starts[run, retries] <= 1 + self.losses[run, retries]

    def finish(self, run: str, how: AttemptState) -> None:
        fence, retries = self.live.pop(run)
        ending = Ending(run_id=run, retries=retries, fence=fence, state=how)
        counts = self.do(ends.finish, ending)
        was = self.states.get(run)
        assert counts == (was is None or was.state == "started")
        if how is AttemptState.RETRIED:
            self.wire.append((run, retries + 1))
        if how is AttemptState.LOST:
            self.losses[run, retries] += 1

    # -- what holds after every step -----------------------------------------

    @invariant()
    def states_go_forward(self) -> None:
        if not hasattr(self, "states"):
            return
        now = self.rows()
        self.account(now)
        for row in now:
            before = self.states.get(row.id)
            assert before is None or self.is_allowed(before, row), (before, row)
        assert self.states.keys() <= {row.id for row in now}
        self.states = {row.id: row for row in now}
        self.overlapped.clear()

    def is_allowed(self, before: Any, after: Any) -> bool:
        if before.state in FINAL:
            return bool(after.state == before.state)
        if after.state == "waiting" and before.state != "waiting":
            return before.id in self.overlapped
        if before.state == "started" and after.state == "planned":
            return bool(before.on_lost == "rerun")
        return RANK[after.state] >= RANK[before.state]

    def account(self, found: list[Any]) -> None:
        """Every due time is in one row, and in the row of the right definition."""
        held: Counter[str] = Counter()
        for row in found:
            if row.exclusive and row.state in ("started", "retrying"):
                held[row.concurrency_key] += 1
            self.check_row(row)
        assert not held or max(held.values()) == 1, held
        for key, told in self.told.items():
            mine = [r for r in found if r.schedule_id == told.id and r.origin == AUTO]
            for epoch in told.epochs:
                mine = self.check_epoch(epoch, mine)
            assert not mine, f"{key}: due times of no definition: {mine}"

    def check_row(self, row: Any) -> None:
        now = self.clock.moment
        assert row.due_at <= row.fires_at, row
        assert row.due_at <= row.planned_at <= now, f"early: {row}"
        assert row.id == run_id(row.schedule_id, row.origin, row.due_at)
        assert (row.finished_at is None) == (row.state in OPEN), row
        if row.state == RunState.PLANNED:
            assert row.publish_after is not None, f"never published: {row}"
            assert row.publish_until is None or (
                (row.publish_until - now).total_seconds() <= LEASE_SECONDS
            )

    def check_epoch(self, epoch: Epoch, rows: list[Any]) -> list[Any]:
        """Walk the epoch's rows along its cadence; the rows that are left."""
        until = epoch.until or self.clock.moment
        mine = [row for row in rows if epoch.since < row.due_at <= until]
        if epoch.paused and epoch.until is None:
            assert not mine, f"planned in a pause: {mine}"
        at, timing = epoch.since, epoch.timing
        for row in mine:
            due, last = row.due_at, row.missed_to or row.due_at
            assert row.lane == epoch.definition.lane, f"by another definition: {row}"
            assert row.missed_from in (None, due)
            assert last <= until
            if epoch.loose:
                assert due > at, f"decided twice: {row}"
                assert timing.previous_at_or_before(due) == due
            else:
                assert timing.next_after(at) == due, f"lost or doubled before {row}"
            if row.missed_from is not None:
                assert timing.previous_at_or_before(last) == last
                counted = timing.count_between(at, last)
                assert epoch.loose or row.missed_count == counted
            at = last
        decided = epoch.until or max(self.ticked, epoch.since)
        following = timing.next_after(at)
        open_pause = epoch.paused and epoch.until is None
        if not (epoch.loose or open_pause):
            assert following is None or following > decided, f"lost: {following}"
        return rows[len(mine) :]

    # -- and at the end ------------------------------------------------------

    def teardown(self) -> None:
        """Nothing is stuck: with time, beats and workers every run ends."""
        if not getattr(self, "told", None):
            return
        for key in self.told:
            with self.database.read() as connection:
                state = schedule_store.get(connection, key).state
            if state == "active":
                self.do(schedule_store.pause, key, reason=None, who="t")
        for _ in range(400):
            self.clock.tick(61)
            self.tick(BEATS[0], 10)
            self.hand[BEATS[0]] = []
            self.wire += [
                (row.id, row.retries) for row in self.claim_outbox(BEATS[0], 500)
            ]
            sent = [run for run, _ in self.wire]
            self.do(outbox.record_published, sent, owner=BEATS[0])
            self.work_off()
            if not any(row.state in OPEN for row in self.rows()):
                return
        stuck = [row for row in self.rows() if row.state in OPEN]
        raise AssertionError(f"stuck: {stuck}")

    def work_off(self) -> None:
        self.states = {row.id: row for row in self.rows()}
        for run in sorted(self.live):
            self.finish(run, AttemptState.SUCCEEDED)
        while self.wire:
            self.claim(*self.wire.pop(0))
            self.states = {row.id: row for row in self.rows()} if self.live else {}
            for run in sorted(self.live):
                self.finish(run, AttemptState.SUCCEEDED)


def _pick(items: list[str], which: int) -> str:
    return items[which % len(items)]
