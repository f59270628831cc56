"""Every command: its name, where it is, and its line of help.

Where it is, as text: so that asking for one command imports one file, and the
demo, which stands above the commands, can be named here.
"""

from __future__ import annotations

from typing import NamedTuple


class Found(NamedTuple):
    """A command that is not imported yet."""

    at: str
    help: str


COMMANDS: dict[str, Found] = {
    "init-db": Found("flask_metronome.cli.schema:init_db", "Make the tables."),
    "migrate": Found(
        "flask_metronome.cli.schema:migrate", "Bring the tables up to date."
    ),
    "up": Found("flask_metronome.cli.up:up", "Run all of it here, for development."),
    "demo": Found("flask_metronome.demo.command:demo", "Run the demo shop."),
    "monitor": Found("flask_metronome.cli.monitor:monitor", "Run a monitor."),
    "schedules": Found("flask_metronome.cli.schedules:schedules", "What runs when."),
    "runs": Found("flask_metronome.cli.runs:runs", "What ran, and what did not."),
    "lanes": Found(
        "flask_metronome.cli.lanes:lanes", "The lanes and what waits in them."
    ),
    "topology": Found("flask_metronome.cli.topology:topology", "The broker's queues."),
    "incidents": Found(
        "flask_metronome.cli.incidents:incidents", "What went wrong, and who knows."
    ),
    "notify": Found(
        "flask_metronome.cli.notify:notify", "Whether notifications get through."
    ),
    "sync": Found("flask_metronome.cli.sync:sync", "Store what the code declares."),
    "import": Found(
        "flask_metronome.cli.imports:imports", "Take in another beat's schedules."
    ),
    "prune": Found("flask_metronome.cli.prune:prune", "Delete old runs and results."),
    "doctor": Found(
        "flask_metronome.cli.doctor:doctor", "Check all parts, say what to do."
    ),
    "broker": Found(
        "flask_metronome.cli.broker:broker", "Which broker is used, and why."
    ),
    "token": Found(
        "flask_metronome.cli.token:token", "Make a token for pages and API."
    ),
}
