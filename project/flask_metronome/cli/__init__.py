"""The commands: ``flask metronome …``, and ``metronome …`` without an app of one's own.

Importing this is cheap, because ``flask`` does it for every command of every app.
"""

from __future__ import annotations

import os

import click
from flask.cli import ScriptInfo

from flask_metronome.cli.command_group import LazyGroup
from flask_metronome.cli.commands import COMMANDS

#: What ``metronome …`` runs when no app is named.
REFERENCE_APP = "flask_metronome.app:create_app"

_HELP = "Periodic tasks that do not go missing."

metronome_cli = LazyGroup(name="metronome", found=COMMANDS, help=_HELP)


def _name_app(ctx: click.Context, _param: click.Parameter, value: str | None) -> None:
    info = ctx.ensure_object(ScriptInfo)
    info.app_import_path = value or os.environ.get("FLASK_APP") or REFERENCE_APP


standalone_cli = LazyGroup(
    name="metronome",
    found=COMMANDS,
    help=_HELP + " Without --app, the commands work on the reference app.",
    params=[
        click.Option(
            ["-A", "--app"],
            metavar="IMPORT",
            help="The Flask app, as for the flask command; else FLASK_APP.",
            callback=_name_app,
            expose_value=False,
            is_eager=True,
        )
    ],
)


def main() -> None:
    """The console script ``metronome``."""
    standalone_cli.main(prog_name="metronome")


__all__ = ["REFERENCE_APP", "main", "metronome_cli", "standalone_cli"]
