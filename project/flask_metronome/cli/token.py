"""``token``: a secret for pages and API."""

from __future__ import annotations

import secrets

import click

_BYTES = 32


@click.command(short_help="Make a token for pages and API.")
def token() -> None:
    """Print a new random token; how to set it is said on standard error.

    Nothing is stored: the token holds once METRONOME_API_TOKEN is set to it.
    """
    click.echo(secrets.token_urlsafe(_BYTES))
    click.echo(
        "Set METRONOME_API_TOKEN to it for the web processes, and send it as "
        "`Authorization: Bearer <token>`.",
        err=True,
    )
