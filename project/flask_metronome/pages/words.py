"""States, reasons and durations in words, for people."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from flask_metronome.history.values import AuditLine, Bar, RunView

STATE_WORDS = {
    "planned": "planned",
    "waiting": "waiting its turn",
    "published": "in the queue",
    "received": "at a worker",
    "started": "running",
    "retrying": "waiting to retry",
    "succeeded": "succeeded",
    "failed": "failed",
    "timed_out": "timed out",
    "lost": "lost",
    "expired": "expired",
    "cancelled": "cancelled",
    "skipped": "skipped",
    "missed": "missed",
}
REASON_WORDS = {
    "scheduler_down": "no beat was running",
    "publish_failed": "the broker did not take it in time",
    "unroutable": "no queue took it",
    "outside_window": "too long ago to catch up",
    "policy": "left out by the catch-up policy",
    "cap": "more than the catch-up limit",
    "expired": "its start deadline passed",
    "paused": "the schedule was paused",
    "retired": "the schedule was removed",
    "overlap": "the run before was still going",
    "window": "outside its window",
    "max_runs": "all its runs were made",
}
LOST_WORDS = {
    "child_killed": "its worker process was killed",
    "exit": "its worker process ended",
    "worker_dead": "its worker stopped answering",
    "cold_shutdown": "its worker was shut down at once",
    "connection": "its worker lost the broker",
    "superseded": "another delivery took over",
}
ACTION_WORDS = {
    "schedule.add": "added it",
    "schedule.edit": "changed it",
    "schedule.pause": "paused it",
    "schedule.resume": "resumed it",
    "schedule.remove": "removed it",
    "schedule.retire": "retired it",
    "schedule.trigger": "ran it by hand",
    "schedule.backfill": "had past due times run",
    "run.rerun": "ran it again",
    "run.cancel": "cancelled it",
    "incident.acknowledge": "acknowledged it",
    "incident.close": "closed it",
    "mute.add": "muted it",
    "mute.end": "ended the mute",
}
UNKNOWN_WORDS = {
    "no_monitor": "no monitor was running",
    "no_database": "the database did not answer",
}
#: The look of each state: shape and colour follow it, never the colour alone.
TONES = {
    "succeeded": "good",
    "failed": "bad",
    "timed_out": "bad",
    "lost": "bad",
    "missed": "missed",
    "expired": "missed",
    "started": "busy",
    "retrying": "busy",
    "planned": "open",
    "waiting": "open",
    "published": "open",
    "received": "open",
    "skipped": "quiet",
    "cancelled": "quiet",
}


def state_words(state: str) -> str:
    """A run's state in words."""
    return STATE_WORDS.get(state, state.replace("_", " "))


def reason_words(reason: str | None) -> str:
    """A reason in words; empty when there is none."""
    if not reason:
        return ""
    known = REASON_WORDS.get(reason) or LOST_WORDS.get(reason)
    return known or reason.replace("_", " ")


def action_words(action: str) -> str:
    """What somebody did, in words."""
    return ACTION_WORDS.get(action, action.replace(".", " ").replace("_", " "))


def change_words(line: AuditLine) -> str:
    """What is to be said of a change: why, or which fields. Never their values."""
    detail = line.detail or {}
    for name in ("reason", "note"):
        if detail.get(name):
            return str(detail[name])
    if line.action == "schedule.edit":
        return ", ".join(detail)
    return ""


def lost_words(cause: str | None) -> str:
    """Why an attempt was lost, in words; empty when it was not."""
    return LOST_WORDS.get(cause, cause.replace("_", " ")) if cause else ""


def tone(state: str) -> str:
    """The look of a state: good, bad, missed, busy, open or quiet."""
    return TONES.get(state, "quiet")


def duration(seconds: float | None) -> str:
    """«850 ms», «12.3 s», «4 min 20 s», «3 h 5 min», «2 d 4 h»."""
    if seconds is None:
        return "–"
    if seconds < 1:
        return f"{max(seconds, 0) * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s".replace(".0 s", " s")
    whole = round(seconds)
    for size, name, small, small_name in (
        (86_400, "d", 3600, "h"),
        (3600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= size:
            rest = whole % size // small
            return f"{whole // size} {name}" + (f" {rest} {small_name}" if rest else "")
    return f"{whole} s"


def instant(moment: datetime | None) -> str:
    """«2027-01-31 08:00:00 UTC»."""
    if moment is None:
        return "–"
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def iso(moment: datetime) -> str:
    """«2027-01-31T08:00:00.000Z», for ``<time datetime>``."""
    text = moment.astimezone(UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def ago(moment: datetime, now: datetime) -> str:
    """«in 12 s», «5 min ago»; the coarsest unit that says enough."""
    seconds = (moment - now).total_seconds()
    size = abs(seconds)
    if size < 1:
        return "now"
    for bound, unit, name in ((90, 1, "s"), (5400, 60, "min"), (129_600, 3600, "h")):
        if size < bound:
            text = f"{round(size / unit)} {name}"
            break
    else:
        text = f"{round(size / 86_400)} d"
    return f"in {text}" if seconds > 0 else f"{text} ago"


def json_words(value: object) -> str:
    """A value as JSON that a person can read; the template escapes it."""
    return json.dumps(value, ensure_ascii=False, default=str)


def origin_words(origin: str) -> str:
    """Why a run exists, in words."""
    kind, _, name = origin.partition(":")
    if kind == "backfill":
        return f"backfill {name}"
    return {"auto": "its cadence", "manual": "by hand", "event": "another's end"}.get(
        kind, kind
    )


def unknown_words(cause: str) -> str:
    """Why nobody was watching, in words."""
    return UNKNOWN_WORDS.get(cause, cause.replace("_", " "))


def percent(share: float | None) -> str:
    """«100 %», «98.3 %»; never rounded up to 100."""
    if share is None:
        return "–"
    value = int(share * 1000) / 10
    return f"{value:.0f} %" if value == int(value) else f"{value:.1f} %"


def why(run: RunView) -> str:
    """Why a run did not go well, in one line."""
    if run.error:
        first = run.error.strip().splitlines()[0] if run.error.strip() else ""
        kind = (run.error_type or "").rpartition(".")[2]
        # what a dead letter is said to have met is a sentence of its own
        if kind and kind != "DeadLetter" and not first.startswith(kind):
            return f"{kind}: {first}" if first else kind
        return first or kind
    words = reason_words(run.reason)
    if run.publish_error and not words:
        words = run.publish_error.splitlines()[0]
    return words or state_words(run.state)


def bar_title(bar: Bar) -> str:
    """What a bar says when pointed at."""
    parts = [f"{instant(bar.due_at)} – {state_words(bar.state)}"]
    if bar.missed_count > 1 and bar.state == "missed":
        parts[0] += f" {bar.missed_count}×"
    if bar.reason:
        parts.append(reason_words(bar.reason))
    if bar.runtime_seconds is not None:
        parts.append(f"took {duration(bar.runtime_seconds)}")
    if bar.retries:
        parts.append("retried once" if bar.retries == 1 else f"retried {bar.retries}×")
    if bar.late:
        parts.append("started late")
    if bar.missed and bar.state not in ("missed", "expired"):
        parts.append("caught up after it was missed")
    return ", ".join(parts)
