"""``lanes``: what waits where, and who works on it."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import click
from flask.cli import with_appcontext

from flask_metronome.cli.asking import ask, now_of
from flask_metronome.cli.dead_letters import dead
from flask_metronome.cli.output import json_option, print_json, print_table
from flask_metronome.history.processes import list_lanes, list_workers
from flask_metronome.history.values import LaneView
from flask_metronome.state import State, state_of
from metronome_broker import BrokerError, LaneDepth, lane_depths


@click.group(
    invoke_without_command=True, short_help="The lanes and what waits in them."
)
@json_option
@click.pass_context
def lanes(context: click.Context, as_json: bool) -> None:
    """The lanes: one queue for each class of tasks; alone, it lists them."""
    if context.invoked_subcommand is None:
        context.invoke(list_command, as_json=as_json)
    elif as_json:
        raise click.UsageError("--json belongs after the subcommand.", context)


@lanes.command("list")
@json_option
@with_appcontext
def list_command(as_json: bool) -> None:
    """List the lanes, as broker and database see them.

    OPEN and RUNNING are runs; MESSAGES and CONSUMERS are the broker's.
    """
    state = state_of()
    found = lane_views(state)
    depths, trouble = _depths(state)
    if as_json:
        print_json([_as_dict(lane, depths.get(lane.name)) for lane in found])
    else:
        _print(found, depths)
    if trouble:
        click.echo(f"The broker's numbers are missing: {trouble}", err=True)


def lane_views(state: State) -> list[LaneView]:
    """Every lane that is known, scheduled for, or served."""
    now = now_of(state)
    workers = ask(state, lambda c: list_workers(c, now, state.settings.lease_seconds))
    return ask(state, lambda c: list_lanes(c, state.lanes, workers))


lanes.add_command(dead)


def _depths(state: State) -> tuple[dict[str, LaneDepth], str | None]:
    url = state.known_broker_url()
    if url is None:
        return {}, "no broker is set or running."
    try:
        return lane_depths(url, state.topology), None
    except BrokerError as error:
        return {}, str(error)


def _print(found: list[LaneView], depths: dict[str, LaneDepth]) -> None:
    headers = (
        "LANE",
        "SCHEDULES",
        "WORKERS",
        "OPEN",
        "RUNNING",
        "MESSAGES",
        "CONSUMERS",
    )
    rows: list[tuple[object, ...]] = [
        (
            lane.name,
            lane.schedules,
            lane.workers,
            lane.waiting,
            lane.running,
            *_numbers(depths.get(lane.name)),
        )
        for lane in found
    ]
    rows += [
        (f"({name})", "", "", "", "", *_numbers(depths[name]))
        for name in ("dead", "unrouted")
        if name in depths
    ]
    print_table(headers, rows, empty="No lanes.")


def _numbers(depth: LaneDepth | None) -> tuple[object, object]:
    if depth is None:
        return "?", "?"
    if not depth.declared:
        return "no queue", ""
    return depth.messages, depth.consumers


def _as_dict(lane: LaneView, depth: LaneDepth | None) -> dict[str, Any]:
    return {**asdict(lane), "broker": asdict(replace(depth)) if depth else None}
