"""``demo``: the shop with everything around it, on nothing but this machine."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any

import click
from flask.cli import ScriptInfo

from flask_metronome.cli import REFERENCE_APP
from flask_metronome.cli.bring_up import Wanted, bring_up
from flask_metronome.cli.failure import Failure
from flask_metronome.cli.ports import free_port
from flask_metronome.cli.supervisor import Process
from flask_metronome.cli.up import up_options
from flask_metronome.demo.shop import Shop, ShopSettings
from flask_metronome.demo.tasks import SERVED
from flask_metronome.settings import FOREIGN_PREFIXES, PREFIX
from flask_metronome.state import state_of
from metronome_broker.running import owner_lives, read_note

_SMTP_HOST = "127.0.0.1"
_SMTP_PORT = 2525
_METRONOME, _SHOP = "metronome", "shop"
#: Which broker it is to start; the only setting that is taken from outside.
_CHOICE = "METRONOME_BROKER"


@click.command(short_help="Run the demo shop.")
@up_options
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="For its databases, mails and reports; by default ./demo-data.",
)
@click.option("--keep", is_flag=True, help="Go on with what the last demo left.")
@click.pass_context
def demo(
    ctx: click.Context, /, data_dir: Path | None, keep: bool, **options: Any
) -> None:
    """Start a small shop with web, beat, worker, monitor, Flower and a mail sink.

    It needs neither RabbitMQ nor a database server, and no rights. Its tasks send
    mail, purge sessions, write reports, fail, are retried and are missed.
    """
    folder = _folder(data_dir)
    _check_free(folder)
    if not keep:
        _clear(folder)
    smtp_port = free_port(_SMTP_PORT, _SMTP_HOST)
    left_out = leave_out_settings(os.environ)
    if left_out:
        click.echo(f"The demo has its own instead of {', '.join(left_out)}.")
    environ = _environ(folder, smtp_port)
    os.environ.update(environ)
    state = state_of(ScriptInfo(app_import_path=REFERENCE_APP).load_app())
    shop = Shop(ShopSettings.read(os.environ, folder / _SHOP))
    # Filled once, here: five processes would otherwise all begin with it.
    shop.begin().close()
    wanted = Wanted(
        environ=environ,
        beside=(_mail_sink(shop.mails, smtp_port, {**os.environ, **environ}),),
        lanes=SERVED,
        pages={"shop": "/"},
        notes=(f"mails     {shop.mails}", f"reports   {shop.reports}"),
        **options,
    )
    ctx.exit(bring_up(state, wanted))


def _folder(asked: Path | None) -> Path:
    if asked is not None:
        if not _is_writable(asked):
            raise Failure(f"data-dir: expected a folder to write to, got {asked}.")
        return asked.resolve()
    usual = Path.cwd() / "demo-data"
    if _is_writable(usual):
        return usual
    folder = Path(tempfile.mkdtemp(prefix="metronome-demo-"))
    click.echo(f"{usual} cannot be written to: the demo's data is in {folder}")
    return folder


def _is_writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _check_free(folder: Path) -> None:
    note = read_note(folder / _METRONOME)
    if note is not None and owner_lives(note):
        raise Failure(
            f"A demo is running in {folder} already: stop it, or name another "
            "folder with --data-dir."
        )


def _clear(folder: Path) -> None:
    # Only what a demo makes: the folder may hold something of the user's.
    for name in (_METRONOME, _SHOP):
        shutil.rmtree(folder / name, ignore_errors=True)


def leave_out_settings(environ: MutableMapping[str, str]) -> list[str]:
    """Take the settings of another app out; their names.

    What was exported for it must get neither the shop's schedules into its
    database nor the shop's incidents told to its people.
    """
    names = sorted(
        name
        for name in environ
        if name.startswith(PREFIX)
        and not name.startswith(FOREIGN_PREFIXES)
        and name != _CHOICE
    )
    for name in names:
        del environ[name]
    return names


def _environ(folder: Path, smtp_port: int) -> dict[str, str]:
    return {
        "FLASK_APP": REFERENCE_APP,
        "METRONOME_DATA_DIR": str(folder / _METRONOME),
        "METRONOME_DEMO_DIR": str(folder / _SHOP),
        "METRONOME_DEMO_SMTP": f"{_SMTP_HOST}:{smtp_port}",
        _CHOICE: os.environ.get(_CHOICE, "embedded"),
    }


def _mail_sink(mails: Path, port: int, environ: Mapping[str, str]) -> Process:
    words = ("--host", _SMTP_HOST, "--port", str(port), "--folder", str(mails))
    return Process(
        name="mail",
        argv=(sys.executable, "-m", "flask_metronome.demo.smtp_sink", *words),
        env={**environ, "PYTHONUNBUFFERED": "1"},
    )
