"""``notify``: whether notifications get through."""

from __future__ import annotations

import click
from flask.cli import with_appcontext

from flask_metronome.channels import channels_of
from flask_metronome.cli.asking import now_of
from flask_metronome.cli.failure import Failure
from flask_metronome.cli.output import json_option, print_json
from flask_metronome.messenger import trial_notification
from flask_metronome.state import state_of
from metronome_monitoring.notify.channel import NotSent


@click.group(short_help="Notifications.")
def notify() -> None:
    """Notifications by mail, webhook and Apprise."""


@notify.command()
@json_option
@with_appcontext
def test(as_json: bool) -> None:
    """Send a test to every channel.

    Exit code 1 when one does not get through.
    """
    state = state_of()
    channels = channels_of(state.settings)
    if not channels:
        raise Failure(
            "No channel is set up: set METRONOME_SMTP_URL, METRONOME_WEBHOOK_URLS "
            "or METRONOME_NOTIFY_URLS."
        )
    now = now_of(state)
    found = []
    for channel in channels:
        error = None
        try:
            channel.send(trial_notification(channel, now))
        except NotSent as refused:
            error = str(refused)
        except Exception as stumbled:
            # whatever a library throws: the others are tried all the same
            error = f"{type(stumbled).__name__}: {stumbled}"
        found.append({"channel": channel.shown, "ok": error is None, "error": error})
        if not as_json:
            click.echo(
                f"{channel.shown}: {'ok' if error is None else f'failed: {error}'}"
            )
    if as_json:
        print_json(found)
    failed = sum(not each["ok"] for each in found)
    if failed:
        raise Failure(f"{failed} of {len(found)} channels failed.")
