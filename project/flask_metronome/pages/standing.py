"""How a schedule stands, in one word, one shape and one tone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from flask_metronome.core.run import BAD, LIVE, RunState
from flask_metronome.history.values import Bar, ScheduleView
from flask_metronome.pages.words import state_words


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """A word, and the tone that picks shape and colour.

    ``trouble`` says whether somebody should look.
    """

    word: str
    tone: str
    trouble: bool = False
    detail: str = ""


def standing_of(schedule: ScheduleView, bars: Sequence[Bar], now: datetime) -> Standing:
    """How a schedule stands, by its row and its last runs."""
    resting = _resting(schedule)
    if resting is not None:
        return resting
    if schedule.miss_after_at is not None and schedule.miss_after_at < now:
        return Standing(
            word="overdue",
            tone="missed",
            trouble=True,
            detail="its due time has passed and no beat has taken it",
        )
    ended = next((bar for bar in reversed(bars) if _says_something(bar)), None)
    if ended is not None and ended.state in BAD:
        look = "missed" if ended.state in ("missed", "expired") else "bad"
        return Standing(word=state_words(ended.state), tone=look, trouble=True)
    if bars and bars[-1].state in LIVE:
        return Standing(word="running", tone="busy")
    if ended is None:
        return Standing(word="no run yet", tone="open")
    return Standing(word="good", tone="good")


def _resting(schedule: ScheduleView) -> Standing | None:
    if schedule.state == "broken" or (schedule.state == "active" and schedule.error):
        detail = schedule.error or "it cannot be planned"
        return Standing(word="broken", tone="bad", trouble=True, detail=detail)
    if schedule.state == "paused":
        by = f" by {schedule.paused_by}" if schedule.paused_by else ""
        why = f": {schedule.paused_reason}" if schedule.paused_reason else ""
        return Standing(word="paused", tone="quiet", detail=f"paused{by}{why}")
    if schedule.state != "active":
        return Standing(word=schedule.state, tone="quiet")
    return None


def _says_something(bar: Bar) -> bool:
    return bar.state == RunState.SUCCEEDED or bar.state in BAD
