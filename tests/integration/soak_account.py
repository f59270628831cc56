"""What the bodies wrote themselves, against what the database says of them.

Pure but for reading the rows. A finding is one sentence about one run; what a
fault explains is counted as an excuse, and is none without that fault.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select

from flask_metronome.core.run import trigger_of
from flask_metronome.models import attempts, counters, results, runs
from flask_metronome.store.counters import runs_label

#: How long after a body's end its process may still need to tell of it, seconds.
_TELLING_SECONDS = 8.0
#: The shortest time limit that a body has, about, seconds.
_SHORTEST = 0.9
#: What an attempt's state says of how its body ended; a lost one says nothing.
_ENDS: dict[str, set[str | None]] = {
    "succeeded": {"return"},
    "retried": {"Retry"},
    "ignored": {"Ignore"},
    "rejected": {"Reject"},
    "failed": {"ValueError", "MemoryError"},
    # a hard limit ends the process by SIGTERM first, which a body may see
    "timed_out": {"SoftTimeLimitExceeded", "SystemExit", None},
    "lost": {None, "SystemExit"},
}
_ATTEMPT_OF_RUN: dict[str, set[str | None]] = {
    "succeeded": {"succeeded"},
    "failed": {"failed", "rejected", "lost"},
    "timed_out": {"timed_out"},
    "cancelled": {"ignored"},
    "lost": {"lost"},
    "skipped": {"retried", "lost", None},
}
_SHOWN = {
    "succeeded": "SUCCESS",
    "failed": "FAILURE",
    "timed_out": "FAILURE",
    "lost": "FAILURE",
    "cancelled": "REVOKED",
    "skipped": "REVOKED",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """What was done to processes, from when to when (monotonic seconds).

    :param pids: of the processes; empty for all (the database, the broker).
    """

    kind: str
    pids: frozenset[int]
    began: float
    ended: float


@dataclass(kw_only=True, slots=True)
class Body:
    """One begun body, by its own lines."""

    run: str
    fence: int
    retries: int
    pid: int
    parent: int
    began: float
    ended: float | None = None
    how: str | None = None
    nonce: str = ""


@dataclass(kw_only=True)
class Account:
    """What the database says, and what the bodies said."""

    runs: Sequence[Any]
    attempts: Sequence[Any]
    results: dict[str, Any]
    bodies: Sequence[Body]
    faults: Sequence[Fault] = ()
    #: When each worker's main process said that it lives, by its process id.
    beats: Mapping[int, Sequence[float]] = field(default_factory=dict)
    lease_seconds: float = 1.0
    findings: list[str] = field(default_factory=list)
    excused: Counter[str] = field(default_factory=Counter)

    def check(self) -> Account:
        """Compare everything; the findings are in ``findings``."""
        by_run: dict[str, list[Body]] = {run.id: [] for run in self.runs}
        of_run: dict[str, list[Any]] = {run.id: [] for run in self.runs}
        for one in self.bodies:
            if one.run not in by_run:
                self._say(one.run, "a body ran of which there is no run")
            by_run.setdefault(one.run, []).append(one)
        for attempt in self.attempts:
            if attempt.run_id is not None and attempt.task_id in of_run:
                of_run[attempt.task_id].append(attempt)
        for run in self.runs:
            self._check_run(run, of_run[run.id], by_run[run.id])
        return self

    def outcomes(self) -> Counter[str]:
        """How many runs ended how."""
        return Counter(
            run.state if not run.reason else f"{run.state} ({run.reason})"
            for run in self.runs
        )

    def _check_run(self, run: Any, tries: list[Any], bodies: list[Body]) -> None:
        if run.state not in _SHOWN or run.finished_at is None:
            self._say(run.id, f"is {run.state}, which is no end")
        held = {attempt.fence: attempt for attempt in tries}
        ran = {one.fence: one for one in bodies}
        if len(ran) < len(bodies):
            self._say(run.id, "two bodies ran with one fence")
        for fence in ran.keys() - held.keys():
            self._say(run.id, f"a body ran with fence {fence}, without an attempt")
        for attempt in tries:
            self._check_attempt(attempt, ran.get(attempt.fence))
        last = held.get(run.fence)
        state = last.state if last is not None else None
        if state not in _ATTEMPT_OF_RUN.get(run.state, {state}):
            self._say(run.id, f"is {run.state}, its last attempt {state}")
        if run.attempts != len(tries):
            self._say(run.id, f"counts {run.attempts} attempts of {len(tries)}")
        retried = sum(attempt.state == "retried" for attempt in tries)
        if run.retries != retried:
            self._say(run.id, f"counts {run.retries} retries of {retried}")
        if sum(a.state not in ("lost", "retried") for a in tries) > 1:
            self._say(run.id, "ended more than once")
        self._check_result(run, ran.get(run.fence))
        self._check_overlap(bodies)

    def _check_attempt(self, attempt: Any, one: Body | None) -> None:
        said, how = attempt.state, one.how if one is not None else None
        if said == "running":
            self._say(attempt.task_id, f"attempt {attempt.fence} runs for ever")
        elif one is None and said not in ("lost", "timed_out"):
            self._say(attempt.task_id, f"attempt {attempt.fence} {said} without a body")
        elif one is None:
            self._excuse(attempt, None, f"{said} before the body")
        elif how not in _ENDS[said]:
            told = f"attempt {attempt.fence} is {said}, its body said {how}"
            if said in ("lost", "timed_out"):
                self._excuse(attempt, one, told)
            else:
                self._say(attempt.task_id, told)
        if one is not None and (one.pid, one.retries) != (attempt.pid, attempt.retries):
            self._say(attempt.task_id, f"attempt {attempt.fence} is of another body")

    def _check_result(self, run: Any, winner: Body | None) -> None:
        row = self.results.get(run.id)
        if run.state == "succeeded" and run.task != "soak.quiet":
            nonce = _nonce(row)
            if winner is None or nonce != winner.nonce:
                self._say(run.id, f"has the result {nonce} of another body")
        elif row is not None and row.status == "SUCCESS":
            self._say(run.id, f"is {run.state} with a SUCCESS stored")
        elif (
            winner is not None
            and winner.how == "ValueError"
            and (run.state == "failed" and winner.nonce not in str(run.error))
        ):
            self._say(run.id, "has the error of another body")

    def _check_overlap(self, bodies: list[Body]) -> None:
        ordered = sorted(bodies, key=lambda one: one.began)
        for first, second in pairwise(ordered):
            if first.ended is not None and first.ended <= second.began:
                continue
            gone = self._gone(first.pid)
            if first.ended is None and gone is not None and gone <= second.began:
                continue
            if first.ended is None and first.how is None and gone is None:
                continue  # it died by its own hand
            if self._lease_was_over(first, first.began, second.began):
                self.excused["overlap past the lease"] += 1
            else:
                self._say(
                    first.run,
                    f"fence {second.fence} began at {second.began:.2f} beside "
                    f"{first.fence}, {first.began:.2f} to {first.ended} "
                    f"(gone {gone}, pids {first.pid}, {second.pid})",
                )

    def _gone(self, pid: int) -> float | None:
        """When a process was killed, if it was."""
        times = [f.began for f in self.faults if f.kind == "kill" and pid in f.pids]
        return min(times, default=None)

    def _lease_was_over(self, one: Body, since: float, until: float) -> bool:
        """Whether its worker was silent for three leases, some of it in between."""
        for pid in (one.pid, one.parent):
            beats = self.beats.get(pid, ())
            for first, second in pairwise((*beats, float("inf"))):
                silent = first <= until and second >= since
                if silent and min(second, until) - first >= 3 * self.lease_seconds:
                    return True
        return False

    def _excuse(self, attempt: Any, one: Body | None, told: str) -> None:
        """A fault hit the process between the body's begin and its report.

        Or the lease was over; or the time limit was, before all was told.
        """
        pids = {attempt.pid} | ({one.parent} if one is not None else set())
        since = one.began if one is not None else 0.0
        until = float("inf")
        if one is not None and one.ended is not None:
            until = one.ended + _TELLING_SECONDS
        why = told.split(",")[-1].strip()
        for fault in self.faults:
            hit = bool(fault.pids & pids)
            if hit and fault.began <= until and fault.ended >= since:
                self.excused[f"{why} ({fault.kind})"] += 1
                return
        if one is not None and self._lease_was_over(one, since, until):
            self.excused[f"{why} (lease over)"] += 1
        elif attempt.state == "timed_out" and attempt.runtime_seconds >= _SHORTEST:
            self.excused[f"{why} (told too late)"] += 1
        else:
            cause = attempt.lost_cause
            self._say(attempt.task_id, f"{told}, {cause}, and nothing hit it")

    def _say(self, run_id: str, what: str) -> None:
        self.findings.append(f"{run_id} {what}")


def read_account(
    connection: Connection, side: Path, faults: Sequence[Fault], lease_seconds: float
) -> Account:
    """All rows and lines, checked."""
    lines = [json.loads(line) for line in side.read_text().splitlines()]
    bodies = read_bodies(lines)
    return Account(
        runs=connection.execute(select(runs)).all(),
        attempts=connection.execute(select(attempts).order_by(attempts.c.fence)).all(),
        beats=read_beats(lines),
        results={row.task_id: row for row in connection.execute(select(results))},
        bodies=[one for one in bodies if one.fence],
        faults=faults,
        lease_seconds=lease_seconds,
    ).check()


def read_beats(lines: Iterable[dict[str, Any]]) -> dict[int, list[float]]:
    """When each worker said that it lives."""
    found: dict[int, list[float]] = {}
    for said in lines:
        if said["event"] == "beat":
            found.setdefault(said["pid"], []).append(said["at"])
    return found


def read_bodies(lines: Iterable[dict[str, Any]]) -> list[Body]:
    """The begun bodies, with their ends where they came to one."""
    begun: dict[tuple[str, int, int, int], Body] = {}
    found: list[Body] = []
    for said in lines:
        if said["event"] == "beat":
            continue
        key = (said["run"], said["fence"], said["retries"], said["pid"])
        if said["event"] == "begin":
            begun[key] = Body(
                run=said["run"],
                fence=said["fence"],
                retries=said["retries"],
                pid=said["pid"],
                parent=said["parent"],
                began=said["at"],
            )
            found.append(begun[key])
        else:
            one = begun[key]
            one.ended, one.how, one.nonce = said["at"], said["how"], said["nonce"]
    return found


def wrong_sums(connection: Connection) -> list[str]:
    """Counters that are not what the rows add up to."""
    rows = connection.execute(select(runs)).all()
    tries = connection.execute(
        select(attempts.c.state).where(attempts.c.run_id.is_not(None))
    ).scalars()
    true: Counter[tuple[str, str]] = Counter()
    for run in rows:
        if run.state != "skipped":
            trigger = trigger_of(run.origin, catchup=run.catchup)
            true["runs", runs_label(trigger, run.state)] += 1
        true["retries", ""] += run.retries
        true["duplicates", ""] += run.duplicates
    for state in tries:
        true["attempts", state] += 1
    said: Counter[tuple[str, str]] = Counter()
    for row in connection.execute(select(counters)):
        said[row.name, row.label] += row.value
    names = {name for name, _ in true}
    said = Counter({key: n for key, n in said.items() if key[0] in names})
    return [
        f"{key}: {said[key]} counted, {true[key]} true"
        for key in sorted(true.keys() | said.keys())
        if said[key] != true[key]
    ]


def _nonce(row: Any) -> str | None:
    if row is None or row.result is None:
        return None
    value = json.loads(bytes(row.result))
    return value.get("nonce") if isinstance(value, dict) else None
