"""``schedules``: what runs when, and everything one does to it."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import datetime
from typing import Any

import click
from flask.cli import with_appcontext

from flask_metronome.api.definitions import definition_values
from flask_metronome.cli.asking import ask, now_of, who
from flask_metronome.cli.definition_options import (
    CADENCES,
    FIELDS,
    cadence_of,
    cadence_options,
    policies_of,
    policy_options,
)
from flask_metronome.cli.output import (
    instant,
    json_option,
    print_fields,
    print_json,
    print_table,
)
from flask_metronome.cli.parameters import InstantType, JsonType
from flask_metronome.core.cadence import cadence_from_dict
from flask_metronome.core.preview import preview as preview_of
from flask_metronome.core.schedule import STATES
from flask_metronome.core.timing import Timing
from flask_metronome.errors import CadenceInvalid, InputInvalid
from flask_metronome.history.schedules import (
    ScheduleFilter,
    get_schedule,
    list_schedules,
)
from flask_metronome.history.values import ScheduleView
from flask_metronome.operations import Operations
from flask_metronome.shown import as_shown
from flask_metronome.state import State, state_of

_key = click.argument("key")


@click.group(short_help="What runs when.")
def schedules() -> None:
    """What runs when: list, look, add, edit, pause, start by hand."""


@schedules.command("list")
@click.option("--task")
@click.option("--lane")
@click.option("--state", "states", multiple=True, type=click.Choice(STATES))
@click.option("--search", "q", help="A part of key, task or description.")
@click.option("--limit", type=click.IntRange(1, 500), default=200, show_default=True)
@click.option("--cursor", help="Where the last list ended.")
@json_option
@with_appcontext
def list_command(limit: int, cursor: str | None, as_json: bool, **wanted: Any) -> None:
    """List the schedules, by key."""
    found = ask(
        state_of(),
        lambda c: list_schedules(
            c, ScheduleFilter(**wanted), limit=limit, cursor=cursor
        ),
    )
    if as_json:
        items = [as_shown(state_of().celery, item) for item in found.items]
        print_json(replace(found, items=tuple(items)))
        return
    headers = ("KEY", "STATE", "WHEN", "LANE", "TASK", "NEXT DUE")
    print_table(headers, [_row(item) for item in found.items], empty="No schedules.")
    if found.next_cursor:
        click.echo(f"… more with --cursor {found.next_cursor}")


@schedules.command()
@_key
@json_option
@with_appcontext
def show(key: str, as_json: bool) -> None:
    """Show one schedule, all of it."""
    state = state_of()
    found = as_shown(state.celery, ask(state, lambda c: get_schedule(c, key)))
    if as_json:
        print_json(found)
    else:
        _print(found)


@schedules.command()
@_key
@click.option("--task", required=True, help="The name of the Celery task.")
@cadence_options
@policy_options
@json_option
@with_appcontext
def add(key: str, task: str, as_json: bool, **given: Any) -> None:
    """Add a schedule; it is in force within a second."""
    state = state_of()
    cadence = cadence_of(given, state.settings.timezone)
    if cadence is None:
        expected = "one of " + ", ".join(f"--{name}" for name in CADENCES)
        raise CadenceInvalid("cadence", expected, None)
    values = {"key": key, "task": task, "cadence": cadence, **policies_of(given)}
    made = Operations(state).add(**values, owner="api", who=who())
    _report(state, made.key, "added", as_json)


@schedules.command()
@_key
@click.option("--task", help="The name of the Celery task.")
@cadence_options
@policy_options
@click.option(
    "--clear", multiple=True, type=click.Choice(FIELDS), help="Back to default."
)
@json_option
@with_appcontext
def edit(
    key: str, task: str | None, clear: tuple[str, ...], as_json: bool, **given: Any
) -> None:
    """Change what is given, keep the rest."""
    changes = policies_of(given)
    state = state_of()
    cadence = cadence_of(given, state.settings.timezone)
    if not (changes or clear or cadence or task):
        raise click.UsageError("Give at least one option that says what to change.")
    both = sorted(changes.keys() & set(clear))
    if both:
        raise InputInvalid(both[0], "a new value or --clear, not both", "both")
    operations = Operations(state)
    # as the row says it: an edit is how to mend one that cannot be understood
    there = ask(state, lambda connection: get_schedule(connection, key))
    values = definition_values(there) | changes
    if cadence is not None:
        values["cadence"] = cadence
    if task is not None:
        values["task"] = task
    for field in clear:
        values.pop(field)
    operations.replace(
        key,
        operations.define(values),
        expected_revision=there.revision,
        who=who(),
    )
    _report(state, key, "changed", as_json)


@schedules.command()
@_key
@click.option("--reason", help="Why; shown wherever the schedule is.")
@with_appcontext
def pause(key: str, reason: str | None) -> None:
    """Stop a schedule until it is resumed; its due times are skipped."""
    Operations(state_of()).pause(key, reason=reason, who=who())
    click.echo(f"{key}: paused")


@schedules.command()
@_key
@with_appcontext
def resume(key: str) -> None:
    """Go on with a paused schedule; nothing of the past is fired."""
    state = state_of()
    Operations(state).resume(key, who=who())
    _report(state, key, "resumed", as_json=False)


@schedules.command()
@_key
@with_appcontext
def rm(key: str) -> None:
    """Remove a schedule; one that has runs is retired and keeps them."""
    Operations(state_of()).remove(key, who=who())
    click.echo(f"{key}: removed")


@schedules.command()
@_key
@click.option("--idempotency-key", help="The same key makes only one run.")
@click.option("--args", type=JsonType(list), help="Instead of the schedule's.")
@click.option("--kwargs", type=JsonType(dict), help="Instead of the schedule's.")
@json_option
@with_appcontext
def trigger(
    key: str,
    idempotency_key: str | None,
    args: list[Any] | None,
    kwargs: dict[str, Any] | None,
    as_json: bool,
) -> None:
    """Run a schedule's task now, once."""
    run = Operations(state_of()).trigger(
        key,
        idempotency_key=idempotency_key,
        args=args,
        kwargs=kwargs,
        who=who(),
    )
    if as_json:
        print_json({"schedule": key, "run": run})
    else:
        click.echo(f"{key}: run {run}")


@schedules.command()
@_key
@click.option("--after", type=InstantType(), required=True, help="Exclusive.")
@click.option("--until", type=InstantType(), required=True, help="Inclusive.")
@click.option("--name", help="The same name and due time make only one run.")
@click.option(
    "--rate", type=float, default=1.0, show_default=True, help="Runs a second."
)
@click.option(
    "--in-flight", type=int, default=10, show_default=True, help="Runs at once."
)
@json_option
@with_appcontext
def backfill(key: str, *, name: str | None, as_json: bool, **span: Any) -> None:
    """Run the due times of a span of the past."""
    name = name or uuid.uuid4().hex[:12]
    count = Operations(state_of()).backfill(
        key,
        after=span["after"],
        until=span["until"],
        name=name,
        rate_per_second=span["rate"],
        in_flight=span["in_flight"],
        who=who(),
    )
    if as_json:
        print_json({"schedule": key, "backfill": name, "runs": count})
    else:
        click.echo(f"{key}: {count} runs made, backfill {name}")


@schedules.command()
@click.argument("key", required=False)
@cadence_options
@click.option("--count", type=click.IntRange(1, 1000), default=10, show_default=True)
@click.option("--after", type=InstantType(), help="By default, now.")
@json_option
@with_appcontext
def preview(
    key: str | None, count: int, after: datetime | None, as_json: bool, **given: Any
) -> None:
    """Show the next due times of a schedule, or of a cadence."""
    state = state_of()
    found = preview_of(_timing(state, key, given), after or now_of(state), count)
    if as_json:
        # as the API has it; local on the cadence's own clock, not in UTC
        print_json(
            [
                {"due_at": one.at, "local": one.local.isoformat(), "note": one.note}
                for one in found
            ]
        )
        return
    rows = [
        (instant(one.at), one.local.strftime("%a %Y-%m-%d %H:%M:%S %Z"), one.note)
        for one in found
    ]
    print_table(("DUE (UTC)", "LOCAL", "NOTE"), rows, empty="Never again.")


def _timing(state: State, key: str | None, given: dict[str, Any]) -> Timing:
    cadence = cadence_of(given, state.settings.timezone)
    if (key is None) == (cadence is None):
        got = "both" if key is not None else None
        raise CadenceInvalid("cadence", "a key or one of --cron, --every, …", got)
    if cadence is None:
        return Operations(state).get(str(key)).definition.timing
    return Timing(cadence=cadence_from_dict(cadence))


def _row(item: ScheduleView) -> tuple[object, ...]:
    return (
        item.key,
        item.state,
        words_of(item),
        item.lane,
        item.task,
        item.next_due_at if item.state == "active" else None,
    )


def words_of(item: ScheduleView) -> str:
    """A schedule's cadence for people, also when it cannot be understood."""
    try:
        return cadence_from_dict(item.cadence).words()
    except CadenceInvalid:
        return "cannot be understood"


def _print(item: ScheduleView) -> None:
    fields = {name: getattr(item, name) for name in type(item).__slots__}
    fields["when"] = words_of(item)
    print_fields(fields)


def _report(state: State, key: str, what: str, as_json: bool) -> None:
    found = as_shown(state.celery, ask(state, lambda c: get_schedule(c, key)))
    if as_json:
        print_json(found)
        return
    due = instant(found.next_due_at)
    then = f", next {due}" if due else ", never due" * (found.state == "finished")
    click.echo(f"{key}: {what}, {words_of(found)}{then}")
