"""``topology``: what must exist on the broker."""

from __future__ import annotations

import click
from flask.cli import with_appcontext

from flask_metronome.cli.failure import Failure
from flask_metronome.cli.output import json_option, print_json
from flask_metronome.state import State, state_of
from metronome_broker import TopologyReport


@click.group(short_help="The broker's queues.")
def topology() -> None:
    """Exchanges and queues: what is there, what should be."""


@topology.command()
@json_option
@with_appcontext
def check(as_json: bool) -> None:
    """Say what is missing or different; change nothing.

    Exit code 1 when something is.
    """
    state = state_of()
    state.celery.load_tasks()
    report = state.topology.check(known_broker(state))
    if as_json:
        found = {"missing": report.missing, "differences": report.differences}
        print_json({"ok": report.ok, **found})
    for line in [] if as_json else _lines(report):
        click.echo(line)
    if not report.ok:
        raise Failure(
            "The broker's topology is not as declared: "
            + (
                "see the differences."
                if report.differences
                else "run `topology apply`."
            )
        )


@topology.command()
@with_appcontext
def apply() -> None:
    """Declare what is missing; refuse when something is different."""
    state = state_of()
    state.celery.load_tasks()
    report = state.topology.apply(known_broker(state))
    lanes = ", ".join(state.lanes)
    click.echo(f"declared {len(report.missing)} that were missing; lanes: {lanes}")


def known_broker(state: State) -> str:
    """The URL of the broker that is set or running.

    :raises Failure: there is none.
    """
    url = state.known_broker_url()
    if url is None:
        raise Failure(
            "No broker is set or running: set METRONOME_BROKER_URL, or start "
            "`flask metronome up`."
        )
    return url


def _lines(report: TopologyReport) -> list[str]:
    lines = [f"missing    {name}" for name in report.missing]
    lines += [f"different  {difference}" for difference in report.differences]
    return lines or ["everything is as declared"]
