"""Brings one Flask app up with all its parts, and down again."""

from __future__ import annotations

import os
import secrets
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial

import click

from flask_metronome.cli.failure import FAILED
from flask_metronome.cli.log_stream import LogStream
from flask_metronome.cli.ports import free_port
from flask_metronome.cli.processes import Layout
from flask_metronome.cli.readiness import answers, beat_lives, worker_lives
from flask_metronome.cli.supervisor import Process, Supervisor
from flask_metronome.schema import init_db
from flask_metronome.state import State

READY_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """What the person at the keyboard asked for.

    :param environ: what the processes get beside this process's environment.
    :param beside: more processes, such as the demo's mail sink.
    :param lanes: those that the worker serves; none: all of them.
    :param pages: more pages to name when all is up: what → its path.
    :param notes: more lines to print when all is up.
    """

    host: str
    port: int
    flower_port: int
    concurrency: int
    color: bool | None = None
    environ: Mapping[str, str]
    beside: tuple[Process, ...] = ()
    lanes: tuple[str, ...] = ()
    pages: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def bring_up(state: State, wanted: Wanted) -> int:
    """Start everything, wait for the end, stop everything.

    :returns: the exit code: 0 when asked to stop, 1 when a part died.
    """
    try:
        with _every_signal_interrupts():
            settings = state.settings
            if not settings.broker_url and settings.broker != "embedded":
                click.echo("broker: one is picked; RabbitMQ takes some seconds …")
            broker = state.broker()
            try:
                click.echo(broker.line)
                version = init_db(state.database)
                click.echo(f"database: {state.database.public_url} at {version}")
                state.topology.apply(broker.url)
                return _supervise(state, _layout(state, wanted), wanted)
            finally:
                broker.stop()
    except KeyboardInterrupt:
        return 0


def _layout(state: State, wanted: Wanted) -> Layout:
    port = _port("web", wanted.port, wanted.host, taken=())
    flower_port = _port("Flower", wanted.flower_port, wanted.host, taken=(port,))
    layout = Layout(
        host=wanted.host,
        port=port,
        flower_port=flower_port,
        concurrency=wanted.concurrency,
        lanes=wanted.lanes,
        url_prefix=state.settings.url_prefix,
        environ={},
    )
    return replace(layout, environ=_environ(state, layout, wanted))


def _port(name: str, asked: int, host: str, *, taken: Sequence[int]) -> int:
    port = free_port(asked, host, taken=taken)
    if port != asked:
        click.echo(f"port {asked} is taken: {name} listens on {port}")
    return port


def _environ(state: State, layout: Layout, wanted: Wanted) -> dict[str, str]:
    broker = state.broker()
    settings = state.settings
    environ = {
        **os.environ,
        "PYTHONUNBUFFERED": "1",
        "METRONOME_BROKER_URL": broker.url,
    }
    environ["METRONOME_FLOWER_URL"] = settings.flower_url or layout.flower_url
    environ["METRONOME_PUBLIC_URL"] = settings.public_url or layout.web_url
    environ["METRONOME_FLOWER_USER"] = settings.flower_user
    environ["METRONOME_FLOWER_PASSWORD"] = (
        settings.flower_password or secrets.token_urlsafe(9)
    )
    api_url = settings.broker_api_url or broker.api_url
    if api_url:
        environ["METRONOME_BROKER_API_URL"] = api_url
    return environ | dict(wanted.environ)


def _supervise(state: State, layout: Layout, wanted: Wanted) -> int:
    processes = (*layout.processes, *wanted.beside)
    stream = LogStream(
        sys.stdout,
        names=[process.name for process in processes],
        color=_shows_color(wanted.color),
    )
    supervisor = Supervisor(processes, stream)
    with supervisor.signals():
        try:
            supervisor.start()
            _wait_until_ready(state, layout, supervisor, stream)
            if supervisor.ended() is None and not supervisor.asked_to_stop:
                stream.say(_announcement(state, layout, wanted))
            supervisor.wait(lambda: False)
            code = _verdict(supervisor, stream)
        finally:
            supervisor.stop()
    stream.say("All stopped.")
    return code


def _wait_until_ready(
    state: State, layout: Layout, supervisor: Supervisor, stream: LogStream
) -> None:
    parts: dict[str, Callable[[], bool]] = {
        "web": partial(answers, f"{layout.page_url}healthz"),
        "beat": partial(beat_lives, state),
        "worker": partial(worker_lives, state),
        "Flower": partial(answers, f"{layout.flower_url}/healthcheck"),
    }

    def all_ready() -> bool:
        for name in [name for name, is_ready in parts.items() if is_ready()]:
            del parts[name]
        return not parts

    ready = supervisor.wait(all_ready, seconds=READY_SECONDS)
    if not ready and supervisor.ended() is None and not supervisor.asked_to_stop:
        late = ", ".join(parts)
        stream.say(f"WARNING: not ready after {READY_SECONDS:g} s: {late}")


def _verdict(supervisor: Supervisor, stream: LogStream) -> int:
    ended = supervisor.ended()
    if supervisor.asked_to_stop or ended is None:
        stream.say("Stopping …")
        return 0
    name, code = ended
    how = f"exit code {code}" if code >= 0 else f"signal {-code}"
    stream.say(f"ERROR: {name} ended by itself with {how}; stopping the others.")
    return FAILED


def _announcement(state: State, layout: Layout, wanted: Wanted) -> str:
    settings = state.settings
    login = f"user {settings.flower_user}, password " + (
        "as in METRONOME_FLOWER_PASSWORD"
        if settings.flower_password
        else layout.environ["METRONOME_FLOWER_PASSWORD"]
    )
    lines = (
        "",
        "Metronome is up.",
        f"  page      {layout.page_url}",
        f"  API       {layout.page_url}api/v1/schedules",
        f"  Flower    {layout.page_url}flower/",
        f"            {layout.flower_url}/  (itself: {login})",
        f"  database  {state.database.public_url}",
        *(
            f"  {name:<8}  {layout.web_url}{path}"
            for name, path in wanted.pages.items()
        ),
        *(f"  {note}" for note in wanted.notes),
        "Press Ctrl-C to stop.",
        "",
    )
    return "\n".join(lines)


def _shows_color(wanted: bool | None) -> bool:
    if wanted is not None:
        return wanted
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


@contextmanager
def _every_signal_interrupts() -> Iterator[None]:
    """Until the supervisor listens: SIGTERM, too, unwinds and stops the broker."""
    kinds = (signal.SIGTERM, signal.SIGHUP)
    before = {kind: signal.signal(kind, signal.default_int_handler) for kind in kinds}
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
