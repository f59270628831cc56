"""The monitor's judgement of runs: which incidents open, go on and close.

Each function is one bounded, repeatable step inside the caller's transaction.
What a step costs follows what ended or went missing since the one before.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, and_, func, or_, select, update

from flask_metronome.core import incident as rules
from flask_metronome.core.incident import Ended, Kind, Standing, Verdict
from flask_metronome.core.notice import happened_words
from flask_metronome.core.run import FINAL, UNSTARTED, RunState
from flask_metronome.models import runs
from flask_metronome.store import following, incidents, standing_rows
from flask_metronome.store.blocking import in_the_way
from flask_metronome.store.counters import ANNOUNCED, ENDED
from flask_metronome.store.incidents import BLOCKED, HAPPENED_CHARACTERS, RUNS, Opening
from flask_metronome.store.sightings import LEASES
from flask_metronome.store.standing_rows import Pending, Watched
from flask_metronome.store.telling import Telling

_FINAL = sorted(state.value for state in FINAL)
_UNSTARTED = sorted(state.value for state in UNSTARTED)
_COLUMNS = (
    runs.c.id,
    runs.c.schedule_id,
    runs.c.schedule_key,
    runs.c.origin,
    runs.c.due_at,
    runs.c.task,
    runs.c.lane,
    runs.c.concurrency_key,
    runs.c.state,
    runs.c.reason,
    runs.c.missed_from,
    runs.c.missed_to,
    runs.c.missed_count,
    runs.c.started_at,
    runs.c.finished_at,
    runs.c.runtime_seconds,
    runs.c.retries,
    runs.c.worker,
    runs.c.error_type,
    runs.c.error,
    runs.c.updated_at,
)

Row = dict[str, Any]


@dataclass(kw_only=True, slots=True)
class _Case:
    """One schedule before and after the look, and what is open of it."""

    schedule: Watched
    old: Standing
    new: Standing
    ended: Sequence[Row] = ()
    pending: Pending | None = None
    open: Mapping[str, incidents.Incident] = field(default_factory=dict)

    def incident(self, rule: str) -> incidents.Incident | None:
        return self.open.get(incidents.open_key(self.schedule.id, rule))

    @property
    def got_worse(self) -> bool:
        """Something went wrong since the last look; else nothing opens anew."""
        return self.new.pending > self.old.pending or any(
            _ended(row).verdict is Verdict.BAD for row in self.ended
        )


def judge(
    connection: Connection,
    *,
    batch: int,
    now: datetime,
    telling: Telling,
    lease_seconds: float,
) -> int:
    """Judge runs that have ended, in the order of their ends; how many."""
    found = connection.execute(
        select(*_COLUMNS)
        .where(
            runs.c.counted.is_(False),
            runs.c.state.in_(_FINAL),
            runs.c.provisional.is_(False),
            runs.c.judged < ENDED,
        )
        # as they ended: a monitor that was away may find days of them
        .order_by(func.coalesce(runs.c.finished_at, runs.c.updated_at), runs.c.due_at)
        .limit(batch)
        .with_for_update(skip_locked=True)
    ).all()
    rows = [_filled(dict(row._mapping)) for row in found]
    if not rows:
        return 0
    blocked = [row for row in rows if _ended(row).verdict is Verdict.BLOCKED]
    alive_since = now - timedelta(seconds=LEASES * lease_seconds)
    reasons = in_the_way(connection, blocked, alive_since=alive_since)
    for row in blocked:
        row["in_the_way"] = reasons[row["concurrency_key"]]
    following.follow(connection, rows, now)
    telling.runs(connection, rows, now)
    ended: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        ended[row["schedule_id"]].append(row)
    _decide(connection, _cases_of_ended(connection, ended), telling, now)
    connection.execute(
        update(runs)
        .where(runs.c.id.in_([row["id"] for row in rows]))
        .values(judged=ENDED)
    )
    return len(rows)


def judge_pending(
    connection: Connection, *, batch: int, now: datetime, telling: Telling
) -> int:
    """Judge what is missed right now; of how many schedules that has changed."""
    before = standing_rows.pending_before(connection)
    there = standing_rows.pending(connection)
    changed = [
        schedule
        for schedule in sorted(before.keys() | there.keys())
        if before.get(schedule, 0) != _count(there.get(schedule))
    ][:batch]
    if changed:
        cases = _cases_of_pending(connection, changed, there, now)
        _decide(connection, cases, telling, now)
    return len(changed)


def announce_missed(
    connection: Connection, *, batch: int, now: datetime, telling: Telling
) -> int:
    """Publish that open runs are missed by now; how many."""
    found = connection.execute(
        select(*_COLUMNS)
        .where(
            runs.c.counted.is_(False),
            runs.c.judged == 0,
            or_(
                and_(runs.c.state == RunState.MISSED, runs.c.provisional),
                and_(runs.c.state.in_(_UNSTARTED), runs.c.missed),
            ),
        )
        .limit(batch)
        .with_for_update(skip_locked=True)
    ).all()
    rows = [dict(row._mapping) for row in found]
    telling.runs(connection, rows, now, state=RunState.MISSED)
    if rows:
        connection.execute(
            update(runs)
            .where(runs.c.id.in_([row["id"] for row in rows]))
            .values(judged=ANNOUNCED)
        )
    return len(rows)


# -- cases -------------------------------------------------------------------------


def _cases_of_ended(
    connection: Connection, ended: Mapping[str, Sequence[Row]]
) -> list[_Case]:
    cases = []
    for case in _cases(connection, list(ended)):
        case.ended = ended[case.schedule.id]
        case.new = rules.after_runs(case.old, [_ended(row) for row in case.ended])
        cases.append(case)
    return cases


def _cases_of_pending(
    connection: Connection,
    ids: Sequence[str],
    there: Mapping[str, Pending],
    now: datetime,
) -> list[_Case]:
    cases = []
    for case in _cases(connection, ids):
        case.pending = there.get(case.schedule.id)
        case.new = rules.with_pending(case.old, _count(case.pending), now)
        cases.append(case)
    return cases


def _cases(connection: Connection, ids: Sequence[str]) -> list[_Case]:
    standings = standing_rows.read(connection, ids)
    there = incidents.open_ones(connection, ids, (RUNS, BLOCKED))
    cases = []
    for schedule_id, schedule in standing_rows.watched(connection, ids).items():
        standing = standings.get(schedule_id, Standing())
        cases.append(_Case(schedule=schedule, old=standing, new=standing, open=there))
    return cases


def _decide(
    connection: Connection, cases: Sequence[_Case], telling: Telling, now: datetime
) -> None:
    openings: list[Opening] = []
    for case in cases:
        openings += _by_runs(connection, case, telling, now)
        openings += _by_blocks(connection, case, telling, now)
    standings = {case.schedule.id: case.new for case in cases}
    incidents.open_all(connection, openings, standings, telling, now)
    standing_rows.write(connection, standings)


# -- rules -------------------------------------------------------------------------


def _by_runs(
    connection: Connection, case: _Case, telling: Telling, now: datetime
) -> list[Opening]:
    there, thresholds = case.incident(RUNS), case.schedule.thresholds
    if there is not None and rules.is_good(case.new, thresholds):
        _close_or_damp(connection, case, there, telling, now)
        return []
    if not case.got_worse or not rules.is_bad(case.new, thresholds):
        return []
    opening = _opening(case)
    if there is not None:
        incidents.refresh(connection, there, opening, now)
        return []
    case.new = rules.flipped(case.new, now)
    return [opening]


def _close_or_damp(
    connection: Connection,
    case: _Case,
    there: incidents.Incident,
    telling: Telling,
    now: datetime,
) -> None:
    if there["damped_at"] is not None:
        return  # closed after a quiet hour, by itself
    if rules.is_flapping(case.new, now):
        incidents.damp(connection, there, telling, now)
        return
    case.new = rules.flipped(case.new, now)
    good_at = case.new.last_good_at or now
    good = (good_at, case.new.last_good_run)
    incidents.close(connection, there, telling, now, reason="good", last_good=good)


def _opening(case: _Case) -> Opening:
    """The incident of runs that went wrong, or are missed by now."""
    new, missing = case.new, case.pending
    count = new.bad_in_a_row + new.pending
    if missing is not None:
        return Opening(
            schedule=case.schedule,
            rule=RUNS,
            kind=Kind.MISSED,
            happened=happened_words(None, missing.reason, None),
            since=new.bad_since or missing.since,
            count=count,
            last_due_at=missing.last_due_at,
            cause=rules.shared_cause(None, missing.reason, case.schedule.lane),
            first_run=new.first_bad_run or missing.run,
            last_run=missing.run,
        )
    last = max(
        (row for row in case.ended if _ended(row).verdict is Verdict.BAD),
        key=lambda row: (row["finished_at"], row["due_at"]),
    )
    return Opening(
        schedule=case.schedule,
        rule=RUNS,
        kind=rules.kind_of(last["state"]),
        happened=_happened(last),
        since=new.bad_since or last["due_at"],
        count=count,
        last_due_at=last["missed_to"] or last["due_at"],
        cause=rules.shared_cause(last["state"], last["reason"], last["lane"]),
        first_run=new.first_bad_run,
        last_run=last["id"],
    )


def _by_blocks(
    connection: Connection, case: _Case, telling: Telling, now: datetime
) -> list[Opening]:
    there = case.incident(BLOCKED)
    if there is not None and case.new.blocked_in_a_row == 0:
        incidents.close(connection, there, telling, now, reason="good")
    blocked = [row for row in case.ended if _ended(row).verdict is Verdict.BLOCKED]
    if there is not None or not blocked or not rules.is_blocked(case.new):
        return []
    return [
        Opening(
            schedule=case.schedule,
            rule=BLOCKED,
            kind=Kind.BLOCKED,
            happened=blocked[-1]["in_the_way"],
            since=min(row["due_at"] for row in blocked),
            count=case.new.blocked_in_a_row,
            last_due_at=max(row["due_at"] for row in blocked),
            first_run=blocked[0]["id"],
            last_run=blocked[-1]["id"],
        )
    ]


# -- rows --------------------------------------------------------------------------


def _filled(row: Mapping[str, Any]) -> Row:
    ended_at = row["finished_at"] or row["updated_at"]
    return dict(row) | {"finished_at": ended_at, "in_the_way": ""}


def _ended(row: Row) -> Ended:
    return Ended(
        id=row["id"],
        state=row["state"],
        reason=row["reason"],
        due_at=row["due_at"],
        ended_at=row["finished_at"],
        weight=row["missed_count"] if row["missed_from"] is not None else 1,
        in_the_way=row["in_the_way"] is not None,
    )


def _happened(row: Row) -> str:
    error = row["error"]
    if error and row["error_type"]:
        error = f"{row['error_type']}: {error}"
    said = happened_words(row["state"], row["reason"], error)
    return said[:HAPPENED_CHARACTERS]


def _count(found: Pending | None) -> int:
    return 0 if found is None else found.count
