"""What is done to the beats, and what must come of it."""

from __future__ import annotations

import itertools
import math
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers.arrivals import Arrivals
from benchmarks.peers.parts import Parts
from benchmarks.peers.trial import Kind, Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a round.

    :param arrived: runs, of a hundred that were due.
    :param gap: p99 of the time between two runs of a schedule, seconds; 1 is right.
    :param processor: milliseconds of processor time for each run.
    """

    arrived: float
    gap: float
    processor: float


def steady(kind: Kind, parts: Parts, *, schedules: int, seconds: float) -> Outcome:
    """One beat, left alone."""
    return _round(kind, parts, schedules, seconds, lambda trial, beat: None)


def two_beats(kind: Kind, parts: Parts, *, schedules: int, seconds: float) -> Outcome:
    """A second beat beside the first."""

    def act(trial: Trial, _beat: subprocess.Popen[bytes]) -> None:
        trial.start_beat()
        time.sleep(6)

    return _round(kind, parts, schedules, seconds, act, before=True)


def killed(kind: Kind, parts: Parts, *, schedules: int, seconds: float) -> Outcome:
    """The beat is killed, and started again after five seconds."""

    def act(trial: Trial, beat: subprocess.Popen[bytes]) -> None:
        beat.kill()
        beat.wait()
        time.sleep(5)
        trial.start_beat()

    return _round(kind, parts, schedules, seconds, act)


def broker_away(kind: Kind, parts: Parts, *, schedules: int, seconds: float) -> Outcome:
    """RabbitMQ is stopped, and started again after five seconds."""

    def act(_trial: Trial, _beat: subprocess.Popen[bytes]) -> None:
        parts.broker.command("stop", "--time", "1")
        time.sleep(5)
        parts.broker.command("start")
        parts.broker.wait()

    return _round(kind, parts, schedules, seconds, act)


def _round(
    kind: Kind,
    parts: Parts,
    schedules: int,
    seconds: float,
    act: Callable[[Trial, subprocess.Popen[bytes]], None],
    *,
    before: bool = False,
) -> Outcome:
    """Count what arrives while ``act`` is done, and for so many seconds after it."""
    with tempfile.TemporaryDirectory() as folder:
        trial = Trial(kind, parts, schedules, Path(folder))
        with trial.arrivals() as found:
            beat = trial.start_beat()
            trial.wait_until_steady(found)
            if before:
                act(trial, beat)
            began, worked = time.monotonic(), _processor_seconds(beat.pid)
            if not before:
                act(trial, beat)
            time.sleep(seconds)
            until = time.monotonic()
            worked = _processor_seconds(beat.pid) - worked
    return _outcome(found, schedules, began, until, worked)


def _outcome(
    found: Arrivals, schedules: int, began: float, until: float, worked: float
) -> Outcome:
    came = found.between(began, until)
    count = sum(len(moments) for moments in came.values())
    gaps = sorted(
        later - earlier
        for moments in came.values()
        for earlier, later in itertools.pairwise(moments)
    )
    return Outcome(
        arrived=100 * count / (schedules * (until - began)),
        gap=gaps[math.ceil(0.99 * len(gaps)) - 1] if gaps else math.inf,
        processor=1000 * worked / max(1, count),
    )


def _processor_seconds(pid: int) -> float:
    """User and system time of a process; 0 for one that is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0.0
    words = text.rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")
