"""``import``: the schedules of another beat are taken in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import click
from flask.cli import with_appcontext

from flask_metronome.cli.asking import who
from flask_metronome.cli.failure import FAILED
from flask_metronome.cli.output import json_option, print_json, print_table
from flask_metronome.cli.parameters import QueueLaneType
from flask_metronome.core.wall_clock import zone_name
from flask_metronome.importers import (
    celery,
    django_celery_beat,
    redbeat,
    sqlalchemy_celery_beat,
)
from flask_metronome.importers.carrying import Carried, Importing
from flask_metronome.importers.imported import Found
from flask_metronome.importers.lanes import LaneChoice
from flask_metronome.importers.peer_tables import PeerTables, peer_tables
from flask_metronome.state import state_of

_HEADERS = ("NAME", "RESULT", "KEY", "STATE", "WHEN", "LANE", "TASK")

_OPTIONS = (
    click.option("--dry-run", is_flag=True, help="Say what would be; write nothing."),
    click.option("--lane", help="The lane of what has none otherwise."),
    click.option(
        "--lane-map",
        "lanes",
        type=QueueLaneType(),
        multiple=True,
        metavar="QUEUE=LANE",
        help="The lane that a queue becomes; may be repeated.",
    ),
    click.option(
        "--replace",
        "overwrite",
        is_flag=True,
        help="Overwrite schedules of other owners, and edits made here.",
    ),
    click.option(
        "--strict", is_flag=True, help="End with 1 when something is left behind."
    ),
    json_option,
)
_url = click.option("--url", required=True, help="Its database, as SQLAlchemy URL.")
_schema = click.option("--schema", help="The schema that its tables are in.")
_tz = click.option("--tz", help="The zone of crontabs, an IANA name.")


def _importing(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that every import has."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return with_appcontext(command)


@click.group(short_help="Take in another beat's schedules.")
def imports() -> None:
    """Take in the schedules of another beat, without touching it.

    Stop that beat first, or both run the tasks. Importing again changes nothing; what
    was changed there since is taken over, edits made here stay. Each schedule is first
    due after now: nothing of the past is fired.
    """


@imports.command("celery")
@click.option(
    "--app",
    "target",
    metavar="MODULE[:NAME]",
    help="A Celery app or a module with its settings; else this app's own Celery.",
)
@_tz
@_importing
def from_celery(target: str | None, tz: str | None, **how: Any) -> None:
    """Take in a beat_schedule of Celery.

    That of this app itself is taken in by `sync` already.
    """
    zone = zone_name(tz) if tz else None
    source = (
        celery.beat_schedule_named(target)
        if target
        else celery.beat_schedule_of(state_of().celery)
    )
    _import(celery.PEER, celery.read_celery(source, tz=zone), **how)


@imports.command("django-celery-beat")
@_url
@_schema
@_importing
def from_django_celery_beat(url: str, schema: str | None, **how: Any) -> None:
    """Take in django-celery-beat's periodic tasks."""
    read = django_celery_beat.read_django_celery_beat
    _import(django_celery_beat.PEER, _read(read, url, schema), **how)


@imports.command("sqlalchemy-celery-beat")
@_url
@_schema
@_importing
def from_sqlalchemy_celery_beat(url: str, schema: str | None, **how: Any) -> None:
    """Take in sqlalchemy-celery-beat's periodic tasks."""
    read = sqlalchemy_celery_beat.read_sqlalchemy_celery_beat
    _import(sqlalchemy_celery_beat.PEER, _read(read, url, schema), **how)


@imports.command("redbeat")
@click.option("--url", required=True, help="Its Redis, e.g. redis://localhost/0.")
@click.option("--prefix", default=redbeat.PREFIX, show_default=True)
@click.option("--tz", help="The zone of crontabs and rrules, an IANA name.")
@_importing
def from_redbeat(url: str, prefix: str, tz: str | None, **how: Any) -> None:
    """Take in the schedules of RedBeat.

    Needs the extra `redbeat`.
    """
    settings = state_of().settings
    named = zone_name(tz) if tz else None
    timeout = settings.database_timeout_seconds
    with redbeat.redis_hashes(url, timeout_seconds=timeout) as hashes:
        found = redbeat.read_redbeat(
            hashes, tz=named or settings.timezone, rule_tz=named, prefix=prefix
        )
    _import(redbeat.PEER, found, **how)


def _read(
    read: Callable[[PeerTables], list[Found]], url: str, schema: str | None
) -> list[Found]:
    timeout = state_of().settings.database_timeout_seconds
    with peer_tables(url, schema=schema, timeout_seconds=timeout) as tables:
        return read(tables)


def _import(
    source: str,
    found: Sequence[Found],
    *,
    dry_run: bool,
    lane: str | None,
    lanes: Sequence[tuple[str, str]],
    overwrite: bool,
    strict: bool,
    as_json: bool,
) -> None:
    state = state_of()
    importing = Importing(
        state=state,
        lanes=LaneChoice(state, dict(lanes), lane),
        who=who(),
        overwrite=overwrite,
        dry_run=dry_run,
    )
    rows = importing.carry(found)
    counts = Counter(row.verdict.value for row in rows)
    if as_json:
        report = {"source": source, "dry_run": dry_run, "counts": counts}
        print_json(report | {"schedules": rows})
    else:
        _print(source, rows, counts, dry_run=dry_run)
    if strict and not all(row.is_whole for row in rows):
        raise click.exceptions.Exit(FAILED)


def _print(
    source: str, rows: Sequence[Carried], counts: Counter[str], *, dry_run: bool
) -> None:
    print_table(_HEADERS, [_cells(row) for row in rows], empty="No schedules.")
    remarks = [
        f"{row.name}: {remark}"
        for row in rows
        for remark in (row.reason, *(f"without {lost}" for lost in row.lost))
        if remark
    ]
    for line in ("\nNot carried over, or not all of it:", *remarks) if remarks else ():
        click.echo(line)
    said = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    ending = "; a dry run, nothing was written" if dry_run else ""
    click.echo(f"\n{source}: {said or 'nothing found'}{ending}")


def _cells(row: Carried) -> tuple[object, ...]:
    state = "paused" if row.paused else None
    return row.name, row.verdict, row.key, state, row.when, row.lane, row.task
