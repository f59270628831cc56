"""``up``: everything that one app needs, for development, with one log."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import click
from flask.cli import ScriptInfo

from flask_metronome.cli.bring_up import Wanted, bring_up
from flask_metronome.cli.failure import BAD_INPUT, Failure
from flask_metronome.state import state_of

_PORT = click.IntRange(1, 65_535)
_DEFAULT_CONCURRENCY = max(2, min(4, os.cpu_count() or 2))


def up_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that `up` and `demo` share."""
    options = (
        click.option("--host", default="127.0.0.1", show_default=True),
        click.option(
            "--port",
            type=_PORT,
            default=8000,
            show_default=True,
            help="Of pages and API; the next free one if it is taken.",
        ),
        click.option(
            "--flower-port",
            type=_PORT,
            default=5555,
            show_default=True,
            help="Of Flower; the next free one if it is taken.",
        ),
        click.option(
            "--concurrency",
            type=click.IntRange(1, 64),
            default=_DEFAULT_CONCURRENCY,
            show_default=True,
            help="Tasks that the worker runs at once.",
        ),
        click.option(
            "--color/--no-color", default=None, help="Default: on a terminal."
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.command(short_help="Run all of it here, for development.")
@up_options
@click.pass_context
def up(ctx: click.Context, /, **options: Any) -> None:
    """Start broker, web, beat, worker, monitor and Flower, with one log.

    The broker is METRONOME_BROKER_URL, else the best that this machine can start.
    Tables and queues are made when they are not there. Ctrl-C stops everything.
    """
    info = ctx.ensure_object(ScriptInfo)
    if info.create_app is not None:
        raise Failure(
            "app: expected one that other processes can import too, by --app or "
            "FLASK_APP, got a factory in this process.",
            exit_code=BAD_INPUT,
        )
    state = state_of(info.load_app())
    environ = {"FLASK_APP": info.app_import_path} if info.app_import_path else {}
    ctx.exit(bring_up(state, Wanted(environ=environ, **options)))
