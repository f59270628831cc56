"""``celery -A app flower`` with settings that are safe to start from.

Flower reads its options from ``FLOWER_*``, from ``flowerconfig.py`` and from
the command line, over tornado's defaults. We change the defaults only, before
it parses, so whatever a user says anywhere wins.

Two things are not options: its ``/metrics`` asks nobody for a password, and
its page is open when none was set. So Flower's application class, as its
command sees it, is replaced by a subclass that guards ``/metrics`` and makes
sure that there is some authentication, unless it was refused explicitly. It
also links the page of a task to the page of its run.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import flower.command
import prometheus_client
from flower.app import Flower
from flower.utils import strtobool
from flower.views import BaseHandler
from flower.views.monitor import Healthcheck
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from tornado.options import options
from tornado.web import RedirectHandler, authenticated

from metronome_monitoring.collector import MetronomeCollector
from metronome_monitoring.flower_run_link import LinkedTask
from metronome_monitoring.password import kept_password
from metronome_monitoring.snapshot import Snapshot

_log = logging.getLogger(__name__)
_INSTALLED = "_metronome_installed"

#: What differs from Flower's own defaults, and why.
DEFAULTS: Mapping[str, Any] = {
    # looking is safe for everybody who may see it; changing goes by our API
    "read_only": True,
    # not open to the network before somebody says so
    "address": "127.0.0.1",
    # SQL keeps the history: Flower only shows the last tasks
    "persistent": False,
    "max_tasks": 10_000,
    "purge_offline_workers": 3600,
    "inspect_timeout": 2000.0,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class FlowerSettings:
    """What Flower needs to know of one app.

    :param user: the name of basic authentication.
    :param password: its password; ``None``: the one kept in the file.
    :param password_file: where a password is kept that was made by us.
    :param broker_api: URL of the broker's management API, if there is one.
    :param read: reads the numbers of our metrics.
    :param prefix: the path that the Flask app shows Flower under, if it does.
    :param run_link: the address of the run's page of a task, if it is one's.
    """

    user: str
    password: str | None
    password_file: Path
    broker_api: str | None
    read: Callable[[], Snapshot]
    prefix: str | None
    run_link: Callable[[str], str | None]


SettingsOf = Callable[[Any], FlowerSettings | None]


def install(settings_of: SettingsOf) -> None:
    """Let the Celery command ``flower`` start with our settings.

    Calling it again changes nothing.

    :param settings_of: asked with the Celery app; ``None`` leaves Flower as
        it is, for an app that is not ours.
    """
    command = flower.command.flower
    if getattr(command, _INSTALLED, False):
        return
    original = command.callback

    @wraps(original)
    def configured(*args: Any, **kwargs: Any) -> Any:
        # click has the context pushed; Celery's own carries the app
        found = settings_of(_celery_app())
        if found is not None:
            configure(found)
        return original(*args, **kwargs)

    command.callback = configured
    setattr(command, _INSTALLED, True)


def _celery_app() -> Any:
    context = flower.command.click.get_current_context()
    return context.obj.app


def configure(settings: FlowerSettings) -> None:
    """Set the defaults of this process's Flower and guard what it exposes."""
    for name, value in DEFAULTS.items():
        set_default(name, value)
    if settings.broker_api:
        set_default("broker_api", settings.broker_api)
    if settings.prefix:
        set_default("url_prefix", settings.prefix.strip("/"))
    prometheus_client.REGISTRY.register(MetronomeCollector(settings.read))

    class Guarded(GuardedFlower):
        """Flower for this process's one app."""

        metronome = settings

    flower.command.Flower = Guarded


def set_default(name: str, value: Any) -> None:
    """Change what an option is when nobody says anything about it."""
    # tornado has no public way to this; Flower reads the same mapping
    options._options[name.replace("_", "-")].default = value


class GuardedFlower(Flower):
    """Flower that asks for a password on ``/metrics``, and has one at all."""

    metronome: FlowerSettings

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        prefix = (self.options.url_prefix or "").strip("/")
        path = f"/{prefix}" if prefix else ""
        # handlers that are added come before those the class was made with
        self.add_handlers(
            r".*",
            [
                (f"{path}/metrics", GuardedMetrics),
                (f"{path}/task/(.+)", LinkedTask),
                *(_outside(path) if path else ()),
            ],
        )
        self._require_authentication()

    def _require_authentication(self) -> None:
        if self.options.basic_auth or self.options.auth:
            return
        if strtobool(os.environ.get("FLOWER_UNAUTHENTICATED_API") or "false"):
            _log.warning(
                "Flower is open to everybody who reaches %s: "
                "FLOWER_UNAUTHENTICATED_API is set.",
                self.options.address or "any address",
            )
            return
        ours = self.metronome
        password = ours.password or kept_password(ours.password_file)
        set_default("basic_auth", [f"{ours.user}:{password}"])
        if ours.password:
            said = "the password of METRONOME_FLOWER_PASSWORD"
        else:
            said = f"the password {password} (kept in {ours.password_file})"
        print(f"Flower: user {ours.user}, {said}", flush=True)


def _outside(path: str) -> Iterable[tuple[Any, ...]]:
    """Who asks Flower itself need not know the prefix that our app shows it under."""
    yield "/metrics", GuardedMetrics
    yield "/healthcheck", Healthcheck
    yield (
        rf"/(?!{re.escape(path[1:])}(?:/|$))(.*)",
        RedirectHandler,
        {
            # one leading slash only: two would lead to another host
            "url": path + "/{0}",
            "permanent": False,
        },
    )


class GuardedMetrics(BaseHandler):
    """``/metrics`` of Flower and of ours, for whoever may see the pages."""

    @authenticated
    async def get(self) -> None:
        """Answer in Prometheus' text format."""
        self.application.purge_offline_worker_metrics()
        # our collector asks the database: never on Flower's own loop
        text = await asyncio.get_running_loop().run_in_executor(None, generate_latest)
        self.set_header("Content-Type", CONTENT_TYPE_LATEST)
        self.write(text)
