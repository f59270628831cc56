"""``monitor``: finds what did not happen."""

from __future__ import annotations

import logging
import signal
import threading
from typing import Any

import click
from flask.cli import with_appcontext

from flask_metronome import schema
from flask_metronome.dead_letters import DeadLetterWatch
from flask_metronome.lane_watch import LaneWatch
from flask_metronome.messenger import MessengerThreads
from flask_metronome.monitor import Monitor
from flask_metronome.state import state_of

_LAST_LOOK_SECONDS = 1.0


@click.command(short_help="Run a monitor.")
@click.option("--sweep-once", is_flag=True, help="One sweep, then end.")
@with_appcontext
def monitor(sweep_once: bool) -> None:
    """Mark runs missed, late and lost; open incidents, send notifications.

    Until SIGTERM or Ctrl-C.

    Any number of monitors may run; one of them sweeps, another takes over.
    """
    state = state_of()
    schema.check(state.database)
    _log_to_stderr()
    found = Monitor(state.database, state.settings)
    if sweep_once:
        report = found.sweep()
        changed = {name: count for name, count in report.changed.items() if count}
        click.echo(f"swept: {changed}" if report.elected else "another monitor sweeps")
        return
    stop = threading.Event()

    def on_signal(_number: int, _frame: Any) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    messengers = MessengerThreads(state)
    click.echo("monitor: watching")
    dead = threading.Thread(
        target=DeadLetterWatch(state).run, args=(stop,), name="metronome-dead"
    )
    # a broker that stands still must not hold up the stop: nothing is lost here
    lanes = threading.Thread(
        target=LaneWatch(state).run, args=(stop,), name="metronome-lanes", daemon=True
    )
    dead.start()
    lanes.start()
    messengers.start()
    try:
        found.run(stop)
    finally:
        stop.set()
        messengers.stop()
        dead.join()
        lanes.join(_LAST_LOOK_SECONDS)


def _log_to_stderr() -> None:
    root = logging.getLogger()
    if not root.handlers:
        logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
