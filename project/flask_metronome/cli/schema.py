"""``init-db`` and ``migrate``: Metronome's tables."""

from __future__ import annotations

import click
from flask.cli import with_appcontext

from flask_metronome import schema as metronome_schema
from flask_metronome.state import state_of


@click.command("init-db", short_help="Make the tables.")
@with_appcontext
def init_db() -> None:
    """Make Metronome's tables, or bring those that are there up to date.

    Tables of others in the same database are not touched.
    """
    state = state_of()
    version = metronome_schema.init_db(state.database)
    click.echo(f"{state.database.public_url}: tables at version {version}")


@click.command(short_help="Bring the tables up to date.")
@with_appcontext
def migrate() -> None:
    """Bring Metronome's tables to this version's form."""
    state = state_of()
    version = metronome_schema.migrate(state.database)
    click.echo(f"{state.database.public_url}: tables at version {version}")
