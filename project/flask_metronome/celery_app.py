"""The Celery app of one Flask app, with the settings that lose nothing.

Each value below has its reason in the comment beside it; users add their own
with ``app.config["CELERY"]`` (lower-case Celery names), which wins except for
the parts that this product is made of.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from celery import Celery, Task

from flask_metronome.errors import SettingInvalid
from flask_metronome.recorder import connect_recorder
from flask_metronome.state import State
from flask_metronome.tasks import MetronomeTask
from flask_metronome.worker_start import connect_worker_start
from metronome_broker import lane_of, routing_key

#: Where no broker is set or running yet; replaced before the first connection.
PENDING_BROKER = "amqp://metronome-broker-is-picked-at-first-use.invalid//"

#: Parts this product is made of: another value would break what it promises.
OURS = frozenset(
    {
        "broker_url",
        "broker_read_url",
        "broker_write_url",
        "result_backend",
        "task_queues",
        "task_routes",
        "task_default_queue",
        "task_default_exchange",
        "task_default_exchange_type",
        "task_create_missing_queues",
        "beat_scheduler",
    }
)


class MetronomeCelery(Celery):
    """A Celery app that knows its Flask app.

    ``metronome`` is the :class:`~flask_metronome.state.State`, ``flask_app``
    the Flask app.
    """

    task_cls = MetronomeTask
    amqp_cls = "flask_metronome.shown:ShowingAMQP"

    def __init__(self, state: State) -> None:
        self.metronome = state
        self.flask_app = state.flask_app
        super().__init__(state.flask_app.import_name, set_as_current=False)

    def __reduce__(self) -> Any:
        # Celery pickles its app for the spawn pool; ours is rebuilt by import
        raise TypeError("use the prefork, threads, gevent or solo pool")

    def _task_from_fun(
        self,
        fun: Any,
        name: str | None = None,
        base: type[Task] | None = None,
        bind: bool = False,
        **options: Any,
    ) -> Any:
        if options.get("lane") is not None:
            # also those of a plain @shared_task(lane="mail")
            self.add_lane(options["lane"])
        base = claiming(base) if base is not None else None
        return super()._task_from_fun(fun, name=name, base=base, bind=bind, **options)

    def register_task(self, task: Any, **options: Any) -> Any:
        """Register a task; one of a foreign class is given the claim, too."""
        if isinstance(task, Task) and not isinstance(task, MetronomeTask):
            task.__class__ = claiming(type(task))
        if getattr(task, "lane", None) is not None:
            self.add_lane(task.lane)
        return super().register_task(task, **options)

    def send_task(self, name: str, *args: Any, **options: Any) -> Any:
        """As Celery's; a delay of less than a second becomes one second.

        The broker delays by whole seconds, and Celery refuses to round: a
        retry after 0.2 s would end in the dead-letter queue.
        """
        countdown = options.get("countdown")
        if countdown is not None and 0 < countdown < 1:
            options["countdown"] = 1
        eta = options.get("eta")
        if isinstance(eta, datetime) and eta.tzinfo is not None:
            left = (eta - self.now()).total_seconds()
            if left < 1:
                options |= {"eta": None, "countdown": 1 if left > 0 else None}
        return super().send_task(name, *args, **options)

    def _connection(self, url: str | None, **options: Any) -> Any:
        if url is None or url == PENDING_BROKER:
            url = self.resolve_broker()
        return super()._connection(url, **options)

    def resolve_broker(self) -> str:
        """Pick the broker if none is set yet; the URL that is in force."""
        if self.conf.broker_url == PENDING_BROKER:
            self.conf.broker_url = self.metronome.broker_url()
        return str(self.conf.broker_url)

    def load_tasks(self) -> None:
        """Import what is to be imported: then all tasks and their lanes are known."""
        self.loader.import_default_modules()
        self.finalize()

    def add_lane(self, name: str) -> None:
        """Make a lane's queue known to this app, also after it was configured."""
        if self.metronome.add_lane(name):
            self._refresh_queues()

    def _refresh_queues(self) -> None:
        queues = self.metronome.topology.kombu_queues()
        self.conf.task_queues = queues
        if "queues" in self.amqp.__dict__:
            for queue in queues:
                if queue.name not in self.amqp.queues:
                    self.amqp.queues.add(queue)


def claiming(base: type[Any]) -> type[Any]:
    """A task class with our claim in front of whatever it does itself."""
    if issubclass(base, MetronomeTask):
        return base
    return type(base.__name__, (MetronomeTask, base), {"abstract": True})


def make_celery(state: State) -> MetronomeCelery:
    """Build and configure the Celery app of a Flask app.

    :raises SettingInvalid: when ``app.config["CELERY"]`` sets one of
        :data:`OURS`.
    """
    app = MetronomeCelery(state)
    app.conf.update(configuration(state))
    app.conf.update(_users_own(state.flask_app.config.get("CELERY") or {}))
    connect_worker_start(app)
    connect_recorder(app)
    app.set_default()
    return app


def _users_own(given: Mapping[str, Any]) -> dict[str, Any]:
    for name in given:
        if name in OURS:
            raise SettingInvalid(
                f"CELERY[{name!r}]", "a setting that Metronome leaves to you", name
            )
    return dict(given)


def configuration(state: State) -> dict[str, Any]:
    """The Celery settings, derived from ours."""
    topology = state.topology
    default = topology.lane(state.settings.default_lane)
    return {
        "broker_url": state.known_broker_url() or PENDING_BROKER,
        "result_backend": "flask_metronome.backend:ResultBackend",
        "beat_scheduler": "flask_metronome.beat:Scheduler",
        "task_queues": topology.kombu_queues(),
        "task_create_missing_queues": False,
        "task_default_queue": default.queue_name,
        "task_default_exchange": topology.exchange,
        "task_default_exchange_type": "topic",
        "task_default_routing_key": routing_key(default.name, "task"),
        "task_routes": (Router(state),),
        **_CONNECTION,
        **_WORKER,
        **_MESSAGES,
        "result_expires": state.settings.result_days * 86_400,
        "timezone": state.settings.timezone,
        "enable_utc": True,
    }


class Router:
    """Where a task goes: its lane's queue, with a two-word routing key."""

    def __init__(self, state: State) -> None:
        self._state = state

    def __call__(
        self,
        name: str,
        args: Any,
        kwargs: Any,
        options: Mapping[str, Any],
        task: Any = None,
        **_: Any,
    ) -> dict[str, Any] | None:
        """Celery's router protocol; ``None`` when the caller chose a queue.

        A retry carries the routing key it came with: it stays in its lane.
        """
        if options.get("queue"):
            return None
        lane = lane_of(options.get("routing_key") or "")
        if lane is None and options.get("exchange"):
            return None
        if lane not in self._state.lanes:
            lane = self.lane_of_task(name, task)
        return {
            "queue": self._state.topology.lane(lane).queue_name,
            "routing_key": routing_key(lane, name),
            "mandatory": True,
            "confirm_timeout": self._state.settings.confirm_timeout_seconds,
        }

    def lane_of_task(self, name: str, task: Any = None) -> str:
        """The lane of a task: its own, else the default."""
        task = task or self._state.celery.tasks.get(name)
        return getattr(task, "lane", None) or self._state.settings.default_lane


_CONNECTION: dict[str, Any] = {
    "broker_transport_options": {"confirm_publish": True},
    "broker_heartbeat": 30,
    "broker_connection_timeout": 4,
    "broker_connection_retry_on_startup": True,
    # a worker outlives any broker outage
    "broker_connection_max_retries": None,
    "broker_channel_error_retry": True,
    # all ten stuck: an error after 5 s, not a wait for ever
    "broker_pool_limit": 10,
    "broker_pool_acquire_timeout": 5,
    # exclusive control queues kill a worker that reconnects fast (405)
    "control_queue_exclusive": False,
    "control_queue_durable": True,
    "event_queue_exclusive": True,
    "task_publish_retry_policy": {
        "max_retries": 2,
        "interval_start": 0.2,
        "interval_step": 0.5,
        "interval_max": 2,
    },
}
_WORKER: dict[str, Any] = {
    "task_acks_late": True,
    "task_reject_on_worker_lost": True,
    "worker_prefetch_multiplier": 1,
    # what cannot be decoded is kept as a dead letter
    "worker_consumer": "flask_metronome.consumer:KeepingConsumer",
    "worker_detect_quorum_queues": True,
    # True would cancel running work at every blip of the connection
    "worker_cancel_long_running_tasks_on_connection_loss": False,
    "worker_soft_shutdown_timeout": 10,
    # soft < hard < RabbitMQ's consumer timeout of 1800 s
    "task_time_limit": 1500,
    "task_soft_time_limit": 1440,
    "task_track_started": True,
    "worker_send_task_events": True,
    "beat_max_loop_interval": 5,
    "beat_enable_remote_control": True,
    "worker_hijack_root_logger": True,
}
_MESSAGES: dict[str, Any] = {
    "task_serializer": "json",
    "result_serializer": "json",
    "accept_content": ["json"],
    "result_extended": True,
}
