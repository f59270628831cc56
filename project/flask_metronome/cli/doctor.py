"""``doctor``: checks every part, and says what to do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import click
from flask.cli import with_appcontext

from flask_metronome import schema
from flask_metronome.cli.asking import ask, now_of
from flask_metronome.cli.failure import FAILED, as_failure, without_passwords
from flask_metronome.cli.lanes import lane_views
from flask_metronome.cli.output import json_option, print_json
from flask_metronome.cli.topology import known_broker
from flask_metronome.history.backlog import watched_until
from flask_metronome.history.processes import list_beats, list_workers
from flask_metronome.state import State, state_of
from metronome_broker import lane_depths, without_password

_SKEW_SECONDS = 2.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """What one check found.

    :param advice: what to do when it is not ok.
    """

    check: str
    ok: bool
    found: str
    advice: str = ""


@click.command(short_help="Check all parts, say what to do.")
@json_option
@with_appcontext
def doctor(as_json: bool) -> None:
    """Check database, tables, broker, queues, beats, workers, monitor and more.

    Exit code 1 when a check failed. Nothing is started or changed.
    """
    found = findings(state_of())
    if as_json:
        print_json(found)
    for finding in [] if as_json else found:
        click.echo(_line(finding))
    if not all(finding.ok for finding in found):
        click.get_current_context().exit(FAILED)


def findings(state: State) -> list[Finding]:
    """Do every check; one that fails does not keep the others from being done."""
    found = []
    for name, check in _CHECKS.items():
        try:
            found.append(check(state, name))
        except Exception as error:
            failure = as_failure(error)
            if failure is None:
                raise
            advice = _ADVICE.get(name, "")
            said = without_passwords(failure.format_message())
            found.append(Finding(check=name, ok=False, found=said, advice=advice))
    return found


def _database(state: State, name: str) -> Finding:
    now_of(state)
    return Finding(check=name, ok=True, found=state.database.public_url)


def _tables(state: State, name: str) -> Finding:
    version = schema.check(state.database)
    return Finding(check=name, ok=True, found=f"version {version}")


def _broker(state: State, name: str) -> Finding:
    url = known_broker(state)
    lane_depths(url, state.topology)
    return Finding(check=name, ok=True, found=without_password(url))


def _topology(state: State, name: str) -> Finding:
    report = state.topology.check(known_broker(state))
    if report.differences:
        differs = "; ".join(str(difference) for difference in report.differences)
        advice = "drain and delete the queue, then `flask metronome topology apply`"
        return Finding(check=name, ok=False, found=differs, advice=advice)
    if report.missing:
        return Finding(
            check=name,
            ok=False,
            found=f"{len(report.missing)} missing, e.g. {report.missing[0]}",
            advice="run `flask metronome topology apply`",
        )
    return Finding(check=name, ok=True, found="as declared")


def _beats(state: State, name: str) -> Finding:
    now = now_of(state)
    found = [beat for beat in ask(state, lambda c: list_beats(c, now)) if beat.alive]
    troubled = [beat for beat in found if beat.broker_error]
    if troubled:
        return Finding(
            check=name,
            ok=False,
            found=f"beat {troubled[0].host}: {troubled[0].broker_error}",
            advice="see the broker",
        )
    return Finding(
        check=name,
        ok=bool(found),
        found=f"{len(found)} alive",
        advice="" if found else "start `celery -A <your app> beat -S metronome`",
    )


def _workers(state: State, name: str) -> Finding:
    now = now_of(state)
    lease = state.settings.lease_seconds
    found = ask(state, lambda c: list_workers(c, now, lease))
    alive = sum(worker.alive for worker in found)
    dropped = sum(worker.dropped for worker in found)
    said = f", {dropped} records dropped: no room for the spool" if dropped else ""
    return Finding(
        check=name,
        ok=alive > 0,
        found=f"{alive} alive{said}",
        advice="" if alive else "start `celery -A <your app> worker`",
    )


def _lanes(state: State, name: str) -> Finding:
    empty = [lane for lane in lane_views(state) if lane.schedules and not lane.workers]
    names = ",".join(lane.name for lane in empty)
    return Finding(
        check=name,
        ok=not empty,
        found=f"no worker serves {names}" if empty else "each has a worker",
        advice=f"start `celery -A <your app> worker -Q {names}`" if empty else "",
    )


def _monitor(state: State, name: str) -> Finding:
    now = now_of(state)
    until = ask(state, watched_until)
    ok = until is not None and until > now
    return Finding(
        check=name,
        ok=ok,
        found="watches" if ok else "none watches: what is missed or lost is not found",
        advice="" if ok else "start `flask metronome monitor`",
    )


def _clock(state: State, name: str) -> Finding:
    skew = (datetime.now(UTC) - now_of(state)).total_seconds()
    return Finding(
        check=name,
        ok=abs(skew) <= _SKEW_SECONDS,
        found=f"{abs(skew):.1f} s apart from the database's",
        advice="" if abs(skew) <= _SKEW_SECONDS else "synchronize the clocks by NTP",
    )


_CHECKS: dict[str, Callable[[State, str], Finding]] = {
    "database": _database,
    "tables": _tables,
    "broker": _broker,
    "queues": _topology,
    "beats": _beats,
    "workers": _workers,
    "lanes": _lanes,
    "monitor": _monitor,
    "clock": _clock,
}
_ADVICE = {
    "database": "check METRONOME_DATABASE_URL and that the server runs",
    "tables": "run `flask metronome init-db`, or `flask metronome migrate`",
    "broker": "check METRONOME_BROKER_URL and that the broker runs",
}


def _line(finding: Finding) -> str:
    mark = "ok    " if finding.ok else "failed"
    # some errors say themselves what to do
    says_itself = "run `" in finding.found
    advice = f" → {finding.advice}" if finding.advice and not says_itself else ""
    return f"{mark}  {finding.check:<8}  {finding.found}{advice}"
