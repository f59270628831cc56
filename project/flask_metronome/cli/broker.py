"""``broker``: which broker is used."""

from __future__ import annotations

import click
from flask.cli import with_appcontext

from flask_metronome.cli.output import json_option, print_fields, print_json
from flask_metronome.state import State, state_of
from metronome_broker import join_broker, without_password


@click.command(short_help="Which broker is used, and why.")
@json_option
@with_appcontext
def broker(as_json: bool) -> None:
    """Say which broker is set or running; nothing is started."""
    found = found_broker(state_of())
    if as_json:
        print_json(found)
    else:
        print_fields(found)


def found_broker(state: State) -> dict[str, str | None]:
    """The broker's kind, where it is, and why that one."""
    settings = state.settings
    if settings.broker_url:
        return {
            "kind": "url",
            "url": without_password(settings.broker_url),
            "why": "METRONOME_BROKER_URL is set",
        }
    running = join_broker(settings.data_dir)
    if running is not None:
        return {
            "kind": running.kind,
            "url": without_password(running.url),
            "why": f"it runs for {settings.data_dir}",
        }
    ladder = "docker, then node, then embedded"
    choice = ladder if settings.broker == "auto" else settings.broker
    return {
        "kind": None,
        "url": None,
        "why": f"none is set or running; `up` would start {choice} "
        f"(METRONOME_BROKER={settings.broker})",
    }
