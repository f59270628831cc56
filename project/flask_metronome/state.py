"""What one Flask app carries: settings, database, Celery app, lanes, broker.

It lives in ``app.extensions["metronome"]``; several apps in one process have
one each. Nothing here connects to anything before it is asked to.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from flask import Flask, current_app, has_app_context

from flask_metronome.async_loop import LoopThread
from flask_metronome.database import Database
from flask_metronome.errors import NotInitialized, UnknownLane
from flask_metronome.settings import Settings
from metronome_broker import (
    InvalidLane,
    Lane,
    RunningBroker,
    Topology,
    join_broker,
    pick_broker,
)

EXTENSION = "metronome"


class State:
    """One app's parts, made once by ``Metronome.init_app``.

    ``authorize`` is the host app's own say in who may read and write; it is
    called with the request and whether it writes.
    """

    def __init__(self, flask_app: Flask, settings: Settings) -> None:
        self.flask_app = flask_app
        self.settings = settings
        self.database = Database(
            settings.database_url, timeout_seconds=settings.database_timeout_seconds
        )
        self.loop = LoopThread(
            settings.database_url, timeout_seconds=settings.database_timeout_seconds
        )
        #: how many more clients may follow what changes, each by a thread
        self.streams = threading.BoundedSemaphore(settings.streams)
        self.celery: Any = None
        #: what the app's code declares, by owner and key; set by the extension
        self.declared: Callable[[], dict[str, dict[str, Any]]] = dict
        self.authorize: Callable[[Any, bool], bool] | None = None
        self._lanes = dict.fromkeys((settings.default_lane, *settings.lanes))
        self._broker: RunningBroker | None = None
        self._lock = threading.Lock()

    @property
    def lanes(self) -> tuple[str, ...]:
        """The names of all lanes known so far."""
        return tuple(self._lanes)

    @property
    def topology(self) -> Topology:
        """Exchanges and lanes as they should be on the broker."""
        limit = self.settings.delivery_limit
        return Topology(
            lanes=tuple(Lane(name=name, delivery_limit=limit) for name in self._lanes)
        )

    def add_lane(self, name: str) -> bool:
        """Make a lane known; whether it was new.

        :raises UnknownLane: when ``METRONOME_LANES`` lists the lanes and this
            is none of them, so that a typing error makes no second queue.
        """
        if name in self._lanes:
            return False
        if self.settings.lanes:
            raise UnknownLane("lane", "one of " + ", ".join(self._lanes), name)
        try:
            Lane(name=name)
        except InvalidLane as error:
            expected = "a lane name (a-z, 0-9, _ and -)"
            raise UnknownLane("lane", expected, name) from error
        self._lanes[name] = None
        return True

    def defaults_for(self, task: str) -> dict[str, Any]:
        """What a schedule of that task is given where it says nothing.

        Its lane is the task's own, else ``METRONOME_DEFAULT_LANE``.
        """
        settings = self.settings
        lane = getattr(self.celery.tasks.get(task), "lane", None)
        return {
            "lane": lane or settings.default_lane,
            "catchup": settings.catchup,
            "catchup_limit": settings.catchup_limit,
            "catchup_window_seconds": settings.catchup_window_seconds,
            "grace_seconds": settings.grace_seconds,
        }

    def broker(self) -> RunningBroker:
        """The broker: as set, else the one of the data folder, else picked now."""
        with self._lock:
            if self._broker is None:
                self._broker = pick_broker(
                    url=self.settings.broker_url,
                    choice=self.settings.broker,
                    data_dir=self.settings.data_dir,
                )
            return self._broker

    def broker_url(self) -> str:
        """The AMQP URL to publish to and consume from."""
        return self.broker().url

    def known_broker_url(self) -> str | None:
        """The broker's URL if it is set or running; starts nothing."""
        if self.settings.broker_url:
            return self.settings.broker_url
        if self._broker is None:
            self._broker = join_broker(self.settings.data_dir)
        return self._broker.url if self._broker else None


def state_of(app: Any = None) -> State:
    """The state of a Flask app, a Celery app, or the current app.

    :raises NotInitialized: when the app has no Metronome.
    """
    if app is None:
        if not has_app_context():
            raise NotInitialized
        app = current_app
    carried = getattr(app, "metronome", None)
    if isinstance(carried, State):
        return carried
    state = getattr(app, "extensions", {}).get(EXTENSION)
    if not isinstance(state, State):
        raise NotInitialized
    return state
