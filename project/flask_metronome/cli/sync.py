"""``sync``: what the code declares goes into the database."""

from __future__ import annotations

import click
from flask.cli import with_appcontext

from flask_metronome.cli.output import json_option, print_fields, print_json
from flask_metronome.operations import Operations
from flask_metronome.state import state_of


@click.command(short_help="Store what the code declares.")
@json_option
@with_appcontext
def sync(as_json: bool) -> None:
    """Store the schedules that the code declares; beats do the same at start.

    Schedules that are gone from the code are retired, not deleted.
    """
    state = state_of()
    operations = Operations(state)
    reports = {
        owner: operations.sync(definitions, owner=owner)
        for owner, definitions in state.declared().items()
    }
    found = {
        name: [key for report in reports.values() for key in getattr(report, name)]
        for name in ("added", "changed", "retired", "kept")
    }
    if as_json:
        print_json(found)
    else:
        print_fields({name: ", ".join(keys) or "none" for name, keys in found.items()})
