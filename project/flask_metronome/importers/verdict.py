"""What becomes of an imported schedule, given what is there under its key."""

from __future__ import annotations

from enum import StrEnum

from flask_metronome.core.schedule import Definition, Schedule
from flask_metronome.store.imported import OWNER, as_declared


class Verdict(StrEnum):
    """The outcomes of a row."""

    NEW = "new"
    CHANGED = "changed"
    SAME = "same"
    #: it has run for the last time
    OVER = "over"
    #: the key belongs to something else
    CONFLICT = "conflict"
    #: it has no counterpart here
    CANNOT = "cannot"


def verdict_of(
    there: Schedule | None, definition: Definition, *, replace: bool
) -> tuple[Verdict, str | None]:
    """What to do, and why not more.

    What was imported before is judged by what the peer said then, so that edits made
    here since are kept.

    :param there: the schedule with the key.
    :param replace: whether what is there may be overwritten.
    """
    if there is None:
        return Verdict.NEW, None
    if replace:
        return _when_replacing(there, definition)
    if there.owner != OWNER:
        reason = f"the key {there.key!r} belongs to {there.owner} (--replace takes it)"
        return Verdict.CONFLICT, reason
    if there.declared == as_declared(definition):
        gone = f"it is {there.state} here (--replace revives it)"
        return Verdict.SAME, gone if there.state in ("retired", "broken") else None
    if there.state == "retired":
        return Verdict.CONFLICT, "it was removed here (--replace revives it)"
    return Verdict.CHANGED, None


def _when_replacing(
    there: Schedule, definition: Definition
) -> tuple[Verdict, str | None]:
    alike = as_declared(there.definition) == as_declared(definition)
    live = there.state not in ("retired", "broken")
    if alike and live and there.owner == OWNER:
        return Verdict.SAME, None
    return Verdict.CHANGED, None
