"""Who is alive, and what is due next, at one look."""

from __future__ import annotations

import click

from flask_metronome.cli.asking import ask, now_of
from flask_metronome.cli.output import instant, print_table
from flask_metronome.cli.schedules import words_of
from flask_metronome.history.processes import list_beats, list_workers
from flask_metronome.history.schedules import ScheduleFilter, list_schedules
from flask_metronome.history.values import ScheduleView
from flask_metronome.state import State

_MOST = 500
_SHOWN = 10


def print_status(state: State) -> None:
    """Print the living beats and workers, and the next due times."""
    now = now_of(state)
    beats = ask(state, lambda c: list_beats(c, now))
    workers = ask(state, lambda c: list_workers(c, now, state.settings.lease_seconds))
    rows: list[tuple[object, ...]] = [
        ("beat", f"{beat.host} pid {beat.pid}", beat.started_at, "")
        for beat in beats
        if beat.alive
    ]
    rows += [
        ("worker", worker.hostname, worker.started_at, ", ".join(worker.lanes))
        for worker in workers
        if worker.alive
    ]
    print_table(
        ("PROCESS", "WHERE", "SINCE", "LANES"), rows, empty="No beat and no worker."
    )
    click.echo()
    print_table(
        ("NEXT DUE", "SCHEDULE", "WHEN", "LANE"),
        [
            (instant(item.next_due_at), item.key, words_of(item), item.lane)
            for item in _due_next(state)
        ],
        empty="Nothing is due.",
    )


def _due_next(state: State) -> list[ScheduleView]:
    wanted = ScheduleFilter(states=("active",))
    found = ask(state, lambda c: list_schedules(c, wanted, limit=_MOST)).items
    due = [item for item in found if item.next_due_at is not None]
    due.sort(key=lambda item: (item.next_due_at is None, item.next_due_at))
    return due[:_SHOWN]
