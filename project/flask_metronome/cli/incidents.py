"""``incidents``: what went wrong, and who has taken note."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import click
from flask.cli import with_appcontext

from flask_metronome.cli.asking import ask, now_of, who
from flask_metronome.cli.output import (
    json_option,
    print_fields,
    print_json,
    print_table,
)
from flask_metronome.cli.parameters import DurationType, InstantType
from flask_metronome.core.incident import IncidentState
from flask_metronome.core.notice import cause_words
from flask_metronome.history.incidents import (
    IncidentView,
    get_incident,
    list_incidents,
    list_mutes,
)
from flask_metronome.incident_operations import IncidentOperations
from flask_metronome.state import state_of

_STATES = [state.value for state in IncidentState]
_id = click.argument("incident_id", metavar="ID")
_note = click.option("--note", help="For those who come after.")


@click.group(short_help="What went wrong, and who knows.")
def incidents() -> None:
    """Incidents: opened when runs go wrong, closed when they go well again."""


@incidents.command("list")
@click.option("--state", "states", multiple=True, type=click.Choice(_STATES))
@click.option("--schedule", help="Its key.")
@click.option("--parts", is_flag=True, help="Also those that are part of another.")
@click.option("--limit", type=click.IntRange(1, 500), default=30, show_default=True)
@click.option("--cursor", help="Where the last list ended.")
@json_option
@with_appcontext
def list_command(limit: int, cursor: str | None, as_json: bool, **wanted: Any) -> None:
    """List the incidents, newest first."""
    found = ask(
        state_of(), lambda c: list_incidents(c, limit=limit, cursor=cursor, **wanted)
    )
    if as_json:
        print_json(found)
        return
    headers = ("OPENED", "WHAT", "KIND", "STATE", "COUNT", "WHY", "ID")
    print_table(headers, [_row(each) for each in found.items], empty="No incidents.")
    if found.next_cursor:
        click.echo(f"… more with --cursor {found.next_cursor}")


@incidents.command()
@_id
@json_option
@with_appcontext
def show(incident_id: str, as_json: bool) -> None:
    """Show one incident, its parts and what was told of it."""
    found = ask(state_of(), lambda c: get_incident(c, incident_id))
    if as_json:
        print_json(found)
        return
    one = found.incident
    print_fields({name: getattr(one, name) for name in type(one).__slots__})
    if found.parts:
        click.echo()
        headers = ("OPENED", "WHAT", "KIND", "STATE", "COUNT", "WHY", "ID")
        print_table(headers, [_row(each) for each in found.parts], empty="")
    if found.notices:
        click.echo()
        print_table(
            ("AT", "CHANNEL", "WHAT", "STATE", "TRIES", "ERROR"),
            [
                (n.created_at, n.channel, n.type, n.state, n.tries, n.error)
                for n in found.notices
            ],
            empty="",
        )


@incidents.command()
@_id
@_note
@with_appcontext
def ack(incident_id: str, note: str | None) -> None:
    """Acknowledge one: nobody is reminded of it until it closes."""
    operations = IncidentOperations(state_of())
    operations.acknowledge(incident_id, note=note, who=who())
    click.echo(f"{incident_id}: acknowledged")


@incidents.command()
@_id
@_note
@with_appcontext
def close(incident_id: str, note: str | None) -> None:
    """Close one by hand; the next bad run opens another."""
    IncidentOperations(state_of()).close(incident_id, note=note, who=who())
    click.echo(f"{incident_id}: closed")


@incidents.command()
@click.argument("scope")
@click.option("--for", "seconds", type=DurationType(), help="«1h», «30 min».")
@click.option("--from", "from_at", type=InstantType(), help="By default now.")
@click.option("--until", "until_at", type=InstantType(), help="Instead of --for.")
@click.option("--reason")
@json_option
@with_appcontext
def mute(
    scope: str,
    seconds: float | None,
    from_at: datetime | None,
    until_at: datetime | None,
    reason: str | None,
    as_json: bool,
) -> None:
    """Tell nobody of the incidents of a scope.

    SCOPE is «*», «schedule:KEY» or «lane:LANE». Until `unmute` ends it, unless --for
    or --until says when.
    """
    state = state_of()
    if seconds is not None and until_at is not None:
        raise click.UsageError("--for and --until exclude each other.")
    if seconds is not None:
        until_at = (from_at or now_of(state)) + timedelta(seconds=seconds)
    made = IncidentOperations(state).mute(
        scope, from_at=from_at, until_at=until_at, reason=reason, who=who()
    )
    if as_json:
        print_json(made)
    else:
        click.echo(f"{made.scope}: muted as {made.id}")


@incidents.command()
@click.argument("mute_id", metavar="ID")
@with_appcontext
def unmute(mute_id: str) -> None:
    """End a mute."""
    IncidentOperations(state_of()).unmute(mute_id, who=who())
    click.echo(f"{mute_id}: ended")


@incidents.command("mutes")
@json_option
@with_appcontext
def mutes_command(as_json: bool) -> None:
    """List the mutes that hold or are to come."""
    state = state_of()
    now = now_of(state)
    found = ask(state, lambda c: list_mutes(c, now))
    if as_json:
        print_json(found)
        return
    print_table(
        ("FROM", "UNTIL", "SCOPE", "BY", "WHY", "ID"),
        [(m.from_at, m.until_at, m.scope, m.who, m.reason, m.id) for m in found],
        empty="Nothing is muted.",
    )


def _row(found: IncidentView) -> tuple[object, ...]:
    return (
        found.opened_at,
        found.schedule_key or cause_words(found.cause or ""),
        found.kind,
        found.state,
        found.bad_count,
        found.happened,
        found.id,
    )
