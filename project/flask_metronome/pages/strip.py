"""The strip of a schedule's last runs, as geometry for an inline SVG.

A bar's height is its duration, its shape and colour its state; a lane above
the bars carries marks: a cross for what went wrong, a ring for what was
missed, a dot for what was retried.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from flask_metronome.history.schedules import STRIP
from flask_metronome.history.stats import durations_of, success_rate
from flask_metronome.history.values import Bar
from flask_metronome.pages.words import bar_title, tone

STEP = 7
BAR_WIDTH = 5
HEIGHT = 32
FLOOR = 31
#: Bars stay below the lane of marks.
TALLEST = 22
_LEAST = 4.0
_HOLLOW = 14.0
_RAN = frozenset({"succeeded", "failed", "timed_out", "lost", "started", "retrying"})


@dataclass(frozen=True, kw_only=True, slots=True)
class DrawnBar:
    """One bar: where it is, how it looks, what it says, where it leads."""

    run_id: str
    x: int
    y: float
    height: float
    tone: str
    state: str
    title: str
    mark: str | None
    late: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Strip:
    """A schedule's strip; ``blanks`` are the places where no run is yet."""

    width: int
    height: int
    blanks: tuple[int, ...]
    bars: tuple[DrawnBar, ...]
    summary: str
    success_rate: float | None
    median_seconds: float | None
    longest_seconds: float


def draw(bars: Sequence[Bar], now: datetime, *, length: int = STRIP) -> Strip:
    """Lay out a strip, the newest run at the right."""
    shown = list(bars[-length:])
    longest = max((_seconds(bar, now) for bar in shown), default=0.0)
    missing = length - len(shown)
    drawn = tuple(
        _bar(bar, (missing + place) * STEP, longest, now)
        for place, bar in enumerate(shown)
    )
    return Strip(
        width=length * STEP - (STEP - BAR_WIDTH),
        height=HEIGHT,
        blanks=tuple(place * STEP for place in range(missing)),
        bars=drawn,
        summary=_summary(shown),
        success_rate=success_rate(_counts(shown)),
        median_seconds=_median(shown),
        longest_seconds=longest,
    )


def _bar(bar: Bar, x: int, longest: float, now: datetime) -> DrawnBar:
    height = _height(bar, longest, now)
    return DrawnBar(
        run_id=bar.id,
        x=x,
        y=round(FLOOR - height, 1),
        height=height,
        tone=tone(bar.state),
        state=bar.state,
        title=bar_title(bar),
        mark=_mark(bar),
        late=bar.late,
    )


def _height(bar: Bar, longest: float, now: datetime) -> float:
    if bar.state not in _RAN:
        return _HOLLOW if tone(bar.state) in ("missed", "open") else _LEAST
    if longest <= 0:
        return _LEAST
    # a root, or one long run would flatten all others
    share = math.sqrt(min(1.0, _seconds(bar, now) / longest))
    return round(_LEAST + (TALLEST - _LEAST) * share, 1)


def _seconds(bar: Bar, now: datetime) -> float:
    if bar.runtime_seconds is not None:
        return max(0.0, bar.runtime_seconds)
    if bar.started_at is not None and bar.state in ("started", "retrying"):
        return max(0.0, (now - bar.started_at).total_seconds())
    return 0.0


def _median(bars: Sequence[Bar]) -> float | None:
    good = [bar for bar in bars if bar.state == "succeeded"]
    return durations_of(
        [bar.runtime_seconds for bar in good if bar.runtime_seconds is not None]
    ).p50


def _mark(bar: Bar) -> str | None:
    look = tone(bar.state)
    if look == "bad":
        return "cross"
    if look == "missed" or bar.missed:
        return "ring"
    return "dot" if bar.retries else None


def _counts(bars: Sequence[Bar]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for bar in bars:
        counts[bar.state] = counts.get(bar.state, 0) + 1
    return counts


def _summary(bars: Sequence[Bar]) -> str:
    if not bars:
        return "No run yet"
    counts = sorted(_counts(bars).items(), key=lambda item: -item[1])
    said = ", ".join(f"{count} {state.replace('_', ' ')}" for state, count in counts)
    return f"Last {len(bars)} runs: {said}" if len(bars) > 1 else f"Last run: {said}"
