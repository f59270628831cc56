"""``runs``: what ran, and what did not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click
from flask.cli import with_appcontext

from flask_metronome.cli.asking import ask, who
from flask_metronome.cli.failure import Failure
from flask_metronome.cli.output import (
    json_option,
    plain,
    print_fields,
    print_json,
    print_table,
    seconds,
)
from flask_metronome.cli.parameters import InstantType
from flask_metronome.core.run import RunState
from flask_metronome.history.children import children_of
from flask_metronome.history.runs import (
    FLAGS,
    RunFilter,
    attempts_of,
    get_run,
    list_runs,
)
from flask_metronome.history.values import AttemptView, ChildView, RunView
from flask_metronome.operations import Operations
from flask_metronome.shown import as_shown
from flask_metronome.state import state_of

_STATES = [state.value for state in RunState]
_run_id = click.argument("run_id", metavar="ID")


@click.group(short_help="What ran, and what did not.")
def runs() -> None:
    """What ran, when, how long, how often retried; and if not, why not."""


@runs.command("list")
@click.option("--schedule", help="Its key.")
@click.option("--task")
@click.option("--lane")
@click.option("--state", "states", multiple=True, type=click.Choice(_STATES))
@click.option("--flag", "flags", multiple=True, type=click.Choice(FLAGS))
@click.option("--origin", help="auto, manual, backfill, or a whole origin.")
@click.option("--worker")
@click.option("--due-after", type=InstantType())
@click.option("--due-before", type=InstantType())
@click.option("--limit", type=click.IntRange(1, 500), default=30, show_default=True)
@click.option("--cursor", help="Where the last list ended.")
@json_option
@with_appcontext
def list_command(limit: int, cursor: str | None, as_json: bool, **wanted: Any) -> None:
    """List the runs, newest first."""
    found = ask(
        state_of(),
        lambda c: list_runs(c, RunFilter(**wanted), limit=limit, cursor=cursor),
    )
    if as_json:
        items = [as_shown(state_of().celery, item) for item in found.items]
        print_json(replace(found, items=tuple(items)))
        return
    headers = ("DUE", "SCHEDULE", "STATE", "RUNTIME", "RETRIES", "WHY", "ID")
    print_table(headers, [_row(run) for run in found.items], empty="No runs.")
    if found.next_cursor:
        click.echo(f"… more with --cursor {found.next_cursor}")


@runs.command()
@_run_id
@json_option
@with_appcontext
def show(run_id: str, as_json: bool) -> None:
    """Show one run with its attempts, and the tasks that it started."""
    state = state_of()
    run = as_shown(state.celery, ask(state, lambda c: get_run(c, run_id)))
    attempts = ask(state, lambda c: attempts_of(c, run_id))
    children = ask(state, lambda c: children_of(c, run_id))
    if as_json:
        more = {"attempts": plain(attempts), "children": plain(children)}
        print_json({**plain(run), **more})
        return
    print_fields({name: getattr(run, name) for name in type(run).__slots__})
    click.echo()
    headers = ("STARTED", "STATE", "RUNTIME", "RETRY", "DELIVERY", "WORKER", "WHY")
    print_table(headers, [_attempt(one) for one in attempts], empty="No attempts.")
    if children:
        click.echo()
        rows = [_child(one, run_id) for one in children]
        print_table(
            ("ENDED", "STATE", "RETRIES", "TASK", "WORKER", "BY", "ID"), rows, empty=""
        )


@runs.command()
@_run_id
@click.option("--idempotency-key", help="The same key makes only one run.")
@json_option
@with_appcontext
def rerun(run_id: str, idempotency_key: str | None, as_json: bool) -> None:
    """Run the same thing again, as a new run."""
    made = Operations(state_of()).rerun(
        run_id, idempotency_key=idempotency_key, who=who()
    )
    if as_json:
        print_json({"run": made, "rerun_of": run_id})
    else:
        click.echo(f"{run_id}: again as run {made}")


@runs.command()
@_run_id
@with_appcontext
def cancel(run_id: str) -> None:
    """Cancel a run that is not over.

    A body that runs is stopped, where its worker's pool can do so.
    """
    if not Operations(state_of()).cancel(run_id, who=who()):
        raise Failure(f"The run {run_id} is over already.")
    click.echo(f"{run_id}: cancelled")


def _row(run: RunView) -> tuple[object, ...]:
    return (
        run.due_at,
        run.schedule_key,
        _state(run),
        seconds(run.runtime_seconds),
        run.retries or "",
        _why(run),
        run.id,
    )


def _state(run: RunView) -> str:
    flags = [name for name in ("late", "overrun", "stuck") if getattr(run, name)]
    if run.missed and run.state != RunState.MISSED:
        flags.append("missed")
    return " ".join((run.state, *flags))


def _why(run: RunView) -> str:
    if run.missed_to is not None:
        return f"{run.reason}, {run.missed_count} due times"
    if run.error_type:
        return f"{run.error_type}: {run.error}"
    return run.reason or run.publish_error or ""


def _child(one: ChildView, run_id: str) -> tuple[object, ...]:
    starter = "this run" if one.parent_id == run_id else one.parent_id
    end = (one.done_at, one.state.lower(), one.retries or "")
    return (*end, one.task, one.worker, starter, one.task_id)


def _attempt(one: AttemptView) -> tuple[object, ...]:
    error = f"{one.error_type}: {one.error}" if one.error_type else None
    return (
        one.started_at,
        one.state,
        seconds(one.runtime_seconds),
        one.retries,
        one.delivery,
        one.worker,
        error or one.retry_reason or one.lost_cause,
    )
