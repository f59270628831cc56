"""``lanes dead``: what the lanes gave up, to be looked at and decided about."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import click
from flask.cli import with_appcontext

from flask_metronome.cli.asking import ask, who
from flask_metronome.cli.failure import BAD_INPUT, Failure
from flask_metronome.cli.output import (
    json_option,
    print_fields,
    print_json,
    print_table,
)
from flask_metronome.cli.topology import known_broker
from flask_metronome.core.run import BAD, RunState
from flask_metronome.dead_letters import close_letter, reason_of
from flask_metronome.errors import NotFound
from flask_metronome.history.runs import get_run
from flask_metronome.operations import Operations
from flask_metronome.redaction import ARGUMENT_LIMIT, clip, excerpt, redact
from flask_metronome.state import State, state_of
from metronome_broker import (
    BrokerError,
    DeadLetter,
    Fate,
    list_dead_letters,
    settle_dead_letters,
)

_lane = click.option("--lane", help="Only those of this lane.")
_limit = click.option(
    "--limit",
    type=click.IntRange(1, 100_000),
    default=1_000,
    show_default=True,
    help="Look at so many, the oldest first.",
)
_run = click.option("--run", "run_id", help="Only that of this run or task id.")
_all = click.option("--all", "everything", is_flag=True, help="All that are looked at.")


@click.group(short_help="What the lanes gave up.")
def dead() -> None:
    """Messages that were rejected, expired, or delivered too often.

    Their runs are over. The messages stay until somebody decides about them.
    """


@dead.command("list")
@_lane
@_limit
@json_option
@with_appcontext
def list_command(lane: str | None, limit: int, as_json: bool) -> None:
    """List the dead letters, the oldest first."""
    state = state_of()
    found = _find(state, lane, None, limit)
    if as_json:
        print_json([_as_dict(state, letter) for letter in found])
        return
    rows = [
        (d.died_at, d.lane, _reason(state, d), d.task, d.retries or "", d.task_id)
        for d in found
    ]
    headers = ("DIED", "LANE", "REASON", "TASK", "RETRIES", "RUN OR TASK ID")
    print_table(headers, rows, empty="No dead letters.")


@dead.command()
@click.argument("run_id")
@_limit
@json_option
@with_appcontext
def show(run_id: str, limit: int, as_json: bool) -> None:
    """Show the dead letters of a run or task, with arguments."""
    state = state_of()
    found = _find(state, None, run_id, limit)
    if not found:
        raise _none_of(run_id)
    if as_json:
        print_json([_as_dict(state, letter) for letter in found])
        return
    for letter in found:
        print_fields(_as_dict(state, letter))


@dead.command()
@_lane
@_run
@_all
@_limit
@with_appcontext
def republish(
    lane: str | None, run_id: str | None, everything: bool, limit: int
) -> None:
    """Give tasks another chance, and remove their dead letters.

    What was to execute a run is run again as a new run, since the old one is over.
    Any other task's message goes back to its lane, without its time limit.
    """
    state = state_of()
    chosen = _choice(lane, run_id, everything)

    def decide(letter: DeadLetter) -> Fate:
        return _again(state, letter) if chosen(letter) else Fate.KEEP

    _settle(state, decide, limit, run_id)


@dead.command()
@_lane
@_run
@_all
@_limit
@with_appcontext
def discard(lane: str | None, run_id: str | None, everything: bool, limit: int) -> None:
    """Throw dead letters away."""
    state = state_of()
    chosen = _choice(lane, run_id, everything)

    def decide(letter: DeadLetter) -> Fate:
        if not chosen(letter):
            return Fate.KEEP
        close_letter(state, letter)
        click.echo(f"{_name(letter)}: discarded")
        return Fate.DISCARD

    _settle(state, decide, limit, run_id)


Choice = Callable[[DeadLetter], bool]


def _choice(lane: str | None, run_id: str | None, everything: bool) -> Choice:
    if not (lane or run_id or everything):
        raise Failure("Say which: --lane, --run or --all.", exit_code=BAD_INPUT)

    def chosen(letter: DeadLetter) -> bool:
        return (lane is None or letter.lane == lane) and (
            run_id is None or letter.task_id == run_id
        )

    return chosen


def _none_of(run_id: str) -> Failure:
    return Failure(f"There is no dead letter of {run_id}.")


def _find(
    state: State, lane: str | None, run_id: str | None, limit: int
) -> list[DeadLetter]:
    chosen = _choice(lane, run_id, True)
    found = list_dead_letters(known_broker(state), state.topology, limit=limit)
    return [letter for letter in found if chosen(letter)]


def _settle(
    state: State, decide: Callable[[DeadLetter], Fate], limit: int, run_id: str | None
) -> None:
    url = known_broker(state)
    refused: list[str] = []

    def guarded(letter: DeadLetter) -> Fate:
        fate = decide(letter)
        if fate is Fate.REPUBLISH:
            try:
                letter.again(state.topology)
            except BrokerError as error:
                refused.append(str(error))
                return Fate.KEEP
        return fate

    settled = settle_dead_letters(url, state.topology, guarded, limit=limit)
    if run_id and all(letter.task_id != run_id for letter, _ in settled):
        raise _none_of(run_id)
    gone = 0
    for letter, fate in settled:
        gone += fate is not Fate.KEEP
        if fate is Fate.REPUBLISH:
            click.echo(f"{_name(letter)}: back in lane {letter.lane}")
    click.echo(f"{gone} of {len(settled)} dead letters are gone")
    if refused:
        raise Failure(refused[0])


def _again(state: State, letter: DeadLetter) -> Fate:
    """Run a run again, in SQL: then its message is of no use any more."""
    if letter.run_id is None:
        return Fate.REPUBLISH
    close_letter(state, letter)
    found = _run_state(state, letter.run_id)
    if found is None:
        return Fate.REPUBLISH
    if found not in BAD:
        click.echo(f"{_name(letter)}: kept, its run is {found}")
        return Fate.KEEP
    made = Operations(state).rerun(
        letter.run_id, idempotency_key=f"dead:{letter.run_id}", who=who()
    )
    click.echo(f"{_name(letter)}: again as run {made}")
    return Fate.DISCARD


def _run_state(state: State, run_id: str) -> RunState | None:
    try:
        return RunState(ask(state, lambda c: get_run(c, run_id)).state)
    except NotFound:
        return None


def _name(letter: DeadLetter) -> str:
    return letter.task_id or f"letter {letter.number}"


def _reason(state: State, letter: DeadLetter) -> str:
    return reason_of(letter, state.celery.conf.accept_content)


def _as_dict(state: State, letter: DeadLetter) -> dict[str, Any]:
    return {
        "task_id": letter.task_id,
        "run": letter.run_id,
        "task": letter.task,
        "lane": letter.lane,
        "reason": _reason(state, letter),
        "died_at": letter.died_at,
        "retries": letter.retries,
        "content_type": letter.content_type,
        "bytes": len(letter.body),
        "body": _body(state, letter),
    }


def _body(state: State, letter: DeadLetter) -> str:
    """The body for people, without secrets; it may be anything."""
    text = letter.body.decode("utf-8", "replace")
    try:
        text = json.dumps(redact(json.loads(text), state.settings.redact))
    except ValueError:
        return excerpt(text, state.settings.redact, ARGUMENT_LIMIT)
    return clip(text, ARGUMENT_LIMIT)
