"""What a notification says: what was due when, what happened instead, since when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from flask_metronome.core.incident import Kind

#: Schedules that a notification about many names.
_NAMED = 10

_CAUSES = {
    "scheduler_down": "no beat plans what is due",
    "publish_failed": "the broker does not take what is due",
    "unroutable": "no queue takes what is due",
    "workers_lost": "workers died at work",
}
_HAPPENED = {
    "scheduler_down": "no beat planned it",
    "publish_failed": "the broker did not take it in time",
    "unroutable": "no queue took it",
    "expired": "nothing started it before its deadline",
    "policy": "no beat planned it in time",
    "cap": "no beat planned it in time",
    "outside_window": "no beat planned it in time",
}
#: Close reasons that say nothing of good runs.
_OVER = {
    "paused": "the schedule was paused",
    "retired": "the schedule was removed",
    "by_hand": "somebody closed it",
}
_TITLES = {
    Kind.FAILED: "{key} failed",
    Kind.MISSED: "{key} was missed",
    Kind.STUCK: "{key} is stuck",
    Kind.BLOCKED: "{key} is blocked by a run that does not end",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Notice:
    """A notification in words."""

    title: str
    text: str


def happened_words(state: str | None, reason: str | None, error: str | None) -> str:
    """What happened instead of what was due, in a few words."""
    if state in ("failed", "timed_out", "lost"):
        return f"{state.replace('_', ' ')}: {error}" if error else state
    return _HAPPENED.get(reason or "", reason or "it did not run")


def cause_words(cause: str) -> str:
    """What many schedules suffer from."""
    if cause.startswith("lane:"):
        return f"no worker does the work of the lane {cause[5:]}"
    return _CAUSES.get(cause, cause)


def notice_of(
    incident: Mapping[str, Any],
    what: str,
    now: datetime,
    *,
    link: str | None,
    members: Sequence[str] = (),
) -> Notice:
    """The words for one turn of an incident.

    :param what: opened, reminder, flapping or closed.
    :param link: where more is to be seen.
    :param members: the schedules that are part of it.
    """
    title = _title(incident)
    lines = _lines(incident, now, members)
    if what == "closed":
        why = _OVER.get(incident["close_reason"])
        title = f"Closed: {title}" if why else f"Good again: {title}"
        lasted = f"after {_span(now - incident['bad_since'])}"
        lines.append(
            f"Closed: {_at(now)}, {lasted}" + (f", because {why}" if why else "")
        )
    elif what == "flapping":
        title = f"Goes up and down: {title}"
        lines.append(
            "It opened and closed too often within an hour; it stays open, and "
            "nothing more is sent, until an hour is quiet."
        )
    elif what == "reminder":
        title = f"Still: {title}"
    if link:
        lines.append(f"More: {link}")
    return Notice(title=f"[Metronome] {title}", text="\n".join(lines) + "\n")


def _title(incident: Mapping[str, Any]) -> str:
    if incident["kind"] == Kind.SYSTEM:
        words = cause_words(incident["cause"] or "")
        count = incident["bad_count"]
        return f"{words} ({count} schedules)" if count > 1 else words
    return _TITLES[Kind(incident["kind"])].format(key=incident["schedule_key"])


def _lines(
    incident: Mapping[str, Any], now: datetime, members: Sequence[str]
) -> list[str]:
    lines = []
    if incident["schedule_key"]:
        lines.append(f"Schedule: {incident['schedule_key']}, lane {incident['lane']}")
    if members:
        more = len(members) - _NAMED
        named = ", ".join(members[:_NAMED]) + (f" and {more} more" if more > 0 else "")
        lines.append(f"Schedules: {named}")
    lines.append(f"Was due: {_at(incident['last_due_at'] or incident['bad_since'])}")
    lines.append(f"Instead: {incident['happened']}")
    count = incident["bad_count"]
    lines.append(
        f"Since: {_at(incident['bad_since'])}, {_span(now - incident['bad_since'])}"
        + (f", {count} in a row" if count > 1 and incident["schedule_key"] else "")
    )
    lines.append(f"Last good run: {_at(incident['last_good_at'])}")
    if incident["note"]:
        lines.append(f"Note: {incident['note']}")
    return lines


def _at(moment: datetime | None) -> str:
    if moment is None:
        return "none known"
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _span(length: timedelta) -> str:
    """«45 s», «12 min», «3 h 5 min», «2 d 4 h»."""
    seconds = max(0, int(length.total_seconds()))
    days, hours, minutes = seconds // 86400, seconds // 3600 % 24, seconds // 60 % 60
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min" if minutes else f"{seconds} s"
