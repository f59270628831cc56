"""``prune``: history that has been kept long enough."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import click
from flask.cli import with_appcontext
from sqlalchemy import Connection

from flask_metronome.cli.output import json_option, print_fields, print_json
from flask_metronome.state import State, state_of
from flask_metronome.store import retention

_BATCH = 500

Step = Callable[[Connection, datetime], int]


@click.command(short_help="Delete old runs and results.")
@click.option("--history-days", type=click.FloatRange(min=0, min_open=True))
@click.option("--result-days", type=click.FloatRange(min=0, min_open=True))
@json_option
@with_appcontext
def prune(history_days: float | None, result_days: float | None, as_json: bool) -> None:
    """Delete runs and results older than METRONOME_HISTORY_DAYS and _RESULT_DAYS.

    The monitor does the same by and by. What its sums have not taken in yet stays,
    and nothing that was pruned ever runs again.
    """
    state = state_of()
    found = prune_all(
        state,
        history_days=history_days or state.settings.history_days,
        result_days=result_days or state.settings.result_days,
    )
    if as_json:
        print_json(found)
    else:
        print_fields(found)


def prune_all(
    state: State, *, history_days: float, result_days: float
) -> dict[str, int]:
    """Delete in batches until there is nothing left to delete; rows by kind."""
    steps: dict[str, Step] = {
        "runs": _step(retention.prune_runs, history_days),
        "attempts of other tasks": _step(retention.prune_plain_attempts, history_days),
        "results": _step(retention.prune_results, result_days),
    }
    return {name: _repeat(state, step) for name, step in steps.items()}


def _step(chore: Callable[..., int], days: float) -> Step:
    def step(connection: Connection, now: datetime) -> int:
        return chore(connection, batch=_BATCH, now=now, days=days)

    return step


def _repeat(state: State, step: Step) -> int:
    total = 0
    while True:
        with state.database.begin() as connection:
            count = step(connection, state.database.now(connection))
        total += count
        if not count:
            return total
