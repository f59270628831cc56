"""Who is alive, and what is due next, at one look."""

from __future__ import annotations

from datetime import timedelta

import click

from flask_metronome.cli.asking import ask, now_of
from flask_metronome.cli.output import instant, print_table
from flask_metronome.cli.schedules import words_of
from flask_metronome.history.processes import list_beats, list_workers
from flask_metronome.history.schedules import coming_schedules
from flask_metronome.state import State

_SHOWN = 10
#: Whatever is due at all: in a hundred years.
_AHEAD = timedelta(days=36_525)


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
    due = ask(
        state, lambda c: coming_schedules(c, now + _AHEAD, lane=None, limit=_SHOWN)
    )
    click.echo()
    print_table(
        ("NEXT DUE", "SCHEDULE", "WHEN", "LANE"),
        [
            (instant(item.next_due_at), item.key, words_of(item), item.lane)
            for item in due
        ],
        empty="Nothing is due.",
    )
