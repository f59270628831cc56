"""The life of one run on a line: due, published, received, attempts, end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from flask_metronome.core.run import UNSTARTED
from flask_metronome.history.values import AttemptView, RunDetail
from flask_metronome.pages.words import duration, tone

WIDTH = 1000
ROW = 30
_NARROWEST = 3.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """One phase: a bar from ``x`` on, ``width`` wide, in a row of its own."""

    label: str
    took: str
    tone: str
    x: float
    y: int
    width: float
    note: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Waterfall:
    """All phases of a run, and the axis below them."""

    spans: tuple[Span, ...]
    height: int
    total: str
    ticks: tuple[tuple[float, str], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Phase:
    label: str
    begins: datetime
    ends: datetime
    tone: str
    note: str = ""


def lay_out(run: RunDetail, now: datetime) -> Waterfall | None:
    """The waterfall of a run; ``None`` when nothing ever happened to it."""
    phases = list(_phases(run, now))
    if not phases:
        return None
    first = min(phase.begins for phase in phases)
    last = max(phase.ends for phase in phases)
    whole = max((last - first).total_seconds(), 1e-6)

    def place(moment: datetime) -> float:
        return (moment - first).total_seconds() / whole * WIDTH

    spans = tuple(
        Span(
            label=phase.label,
            took=duration((phase.ends - phase.begins).total_seconds()),
            tone=phase.tone,
            x=round(min(place(phase.begins), WIDTH - _NARROWEST), 1),
            y=row * ROW,
            width=round(max(place(phase.ends) - place(phase.begins), _NARROWEST), 1),
            note=phase.note,
        )
        for row, phase in enumerate(phases)
    )
    ticks = tuple(
        (WIDTH * share / 4, "+" + duration(whole * share / 4)) for share in range(1, 5)
    )
    return Waterfall(
        spans=spans, height=ROW * len(spans), total=duration(whole), ticks=ticks
    )


def _phases(run: RunDetail, now: datetime) -> Iterator[_Phase]:
    yield from _before_start(run, now)
    before: AttemptView | None = None
    for number, attempt in enumerate(run.attempts, start=1):
        ended = before.ended_at if before is not None else None
        if before is not None and ended is not None and attempt.started_at > ended:
            yield _Phase(
                label="waits to retry" if before.state == "retried" else "waits",
                begins=ended,
                ends=attempt.started_at,
                tone="wait",
            )
        ends = attempt.ended_at or (now if attempt.state == "running" else None)
        yield _Phase(
            label=f"attempt {number}",
            begins=attempt.started_at,
            ends=max(ends or attempt.started_at, attempt.started_at),
            tone=_tone(attempt.state),
            note=f"{attempt.state.replace('_', ' ')} on {attempt.worker}",
        )
        before = attempt


def _before_start(run: RunDetail, now: datetime) -> Iterator[_Phase]:
    """From the due time to the first start: one phase between each two steps."""
    steps = (
        ("until a beat planned it", run.planned_at),
        ("until the broker had it", run.published_at),
        ("waits in the queue", run.received_at),
        ("waits in the worker", run.started_at),
    )
    edge = run.due_at
    for label, mark in steps:
        if mark is None or mark <= edge:
            continue
        yield _Phase(label=label, begins=edge, ends=mark, tone="wait")
        edge = mark
    if run.state in UNSTARTED and run.started_at is None and edge < now:
        yield _Phase(label="waits", begins=edge, ends=now, tone="wait")


def _tone(state: str) -> str:
    return {"running": "busy", "retried": "retried"}.get(state, tone(state))
