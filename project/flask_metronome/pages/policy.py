"""A schedule's policies in sentences."""

from __future__ import annotations

from flask_metronome.history.values import ScheduleView
from flask_metronome.pages.words import duration, instant

_CATCHUP = {
    "latest": "one run makes up for the newest; the others are only recorded",
    "earliest": "one run makes up for the oldest; the others are only recorded",
    "none": "nothing is made up for; it is recorded",
}
_OVERLAP = {
    "skip": "the new one is skipped",
    "allow": "both run",
    "queue_one": "the newest one waits for it",
    "queue_all": "the new ones wait in line, up to {most}",
    "cancel_previous": "the one before is cancelled",
}
# What becomes of many that are made up for at once.
_MADE_UP_AT_ONCE = {
    "skip": "one after the other",
    "queue_all": "one after the other",
    "queue_one": "but only the first and the newest of them run",
    "cancel_previous": "but each cancels the one before",
}
_ON_LOST = {
    "fail": "the run counts as lost and is not repeated",
    "rerun": "another worker runs it again",
}


def policies_of(schedule: ScheduleView) -> list[tuple[str, str]]:
    """What holds for a schedule: for each case a name and a sentence."""
    found = [
        ("When due times are missed", _catchup(schedule)),
        ("When the run before still goes", _overlap(schedule)),
        ("When its worker dies", _ON_LOST.get(schedule.on_lost, schedule.on_lost)),
        ("On time", _on_time(schedule)),
        ("Runtime", _runtime(schedule)),
        ("Incident", _incident(schedule)),
    ]
    window = _window(schedule)
    return [(name, said) for name, said in (*found, ("Only", window)) if said]


def _catchup(schedule: ScheduleView) -> str:
    if schedule.catchup != "all":
        return _CATCHUP.get(schedule.catchup, schedule.catchup)
    window = duration(schedule.catchup_window_seconds)
    said = f"each is made up for, at most {schedule.catchup_limit} within {window}"
    but = _MADE_UP_AT_ONCE.get(schedule.overlap)
    return f"{said}, {but}" if but else said


def _overlap(schedule: ScheduleView) -> str:
    said = _OVERLAP.get(schedule.overlap, schedule.overlap)
    said = said.replace("{most}", str(schedule.catchup_limit))
    key = schedule.concurrency_key
    return f"{said} (all runs of «{key}» count as one)" if key else said


def _on_time(schedule: ScheduleView) -> str:
    grace, late = schedule.grace_seconds, schedule.late_after_seconds
    parts = [
        f"missed {duration(grace)} after the due time"
        if grace is not None
        else "missed half an interval after the due time (30 s to 30 min)",
        f"late {duration(late)} after it"
        if late is not None
        else "late a tenth of an interval after it (15 s to 10 min)",
    ]
    if schedule.start_deadline_seconds is not None:
        expires = duration(schedule.start_deadline_seconds)
        parts.append(f"not started any more {expires} after it")
    if schedule.jitter_seconds:
        parts.append(f"spread over {duration(schedule.jitter_seconds)}")
    return "; ".join(parts)


def _runtime(schedule: ScheduleView) -> str:
    if schedule.max_runtime_seconds is None:
        return "overrun at three times its 95th percentile, at least 5 min"
    return f"overrun after {duration(schedule.max_runtime_seconds)}"


def _incident(schedule: ScheduleView) -> str:
    return (
        f"opens after {_count(schedule.bad_in_a_row, 'bad run')}, "
        f"closes after {_count(schedule.good_to_close, 'good run')}"
    )


def _window(schedule: ScheduleView) -> str:
    parts = []
    if schedule.start_at is not None:
        parts.append(f"from {instant(schedule.start_at)}")
    if schedule.end_at is not None:
        parts.append(f"up to {instant(schedule.end_at)}")
    if schedule.max_runs is not None:
        parts.append(f"{schedule.runs_made} of at most {schedule.max_runs} runs made")
    return ", ".join(parts)


def _count(number: int, name: str) -> str:
    return f"1 {name}" if number == 1 else f"{number} {name}s in a row"
