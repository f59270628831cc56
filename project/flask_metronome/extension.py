"""``Metronome``: the extension, and the one place that wires the parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import IO, Any, TypeVar, overload

from celery.local import Proxy
from click import ClickException
from flask import Flask, current_app, has_app_context
from flask.cli import NoAppException

from flask_metronome.api import register_api
from flask_metronome.celery_app import MetronomeCelery, make_celery
from flask_metronome.core.schedule import Definition
from flask_metronome.declarations import (
    DeclaredSchedule,
    DeclaredTask,
    definition_of,
    from_beat_schedule,
    slug,
)
from flask_metronome.errors import (
    MetronomeError,
    NoCurrentApp,
    NotInitialized,
    ScheduleInvalid,
    SettingInvalid,
)
from flask_metronome.host_alembic import protect_from_flask_migrate
from flask_metronome.metrics_routes import metrics_blueprint
from flask_metronome.operations import Operations
from flask_metronome.pages import register_pages
from flask_metronome.settings import settings_from_app
from flask_metronome.state import EXTENSION, State, state_of

F = TypeVar("F", bound=Callable[..., Any])


class SettingRefused(SettingInvalid, NoAppException):
    """A wrong setting, as Flask's own commands show it: one sentence, exit code 2.

    They print a traceback for whatever else keeps an app from being loaded.
    """

    def __init__(self, refused: SettingInvalid) -> None:
        SettingInvalid.__init__(self, refused.field, refused.expected, refused.got)
        NoAppException.__init__(self, str(refused))

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the sentence, without a command's usage: that was right."""
        ClickException.show(self, file)


class WaitingTask(Proxy):
    """A task that is looked up when it is used: by then there is an app."""

    def _get_class(self) -> Any:
        # Flask and Celery ask everything in a module while they search for an app
        try:
            return super()._get_class()
        except NotInitialized:
            return WaitingTask


class Metronome:
    """Periodic tasks for one or more Flask apps.

    >>> metronome = Metronome(app)
    >>> @metronome.task(lane="reports", schedule=cron("0 8 * * mon-fri"))
    ... def send_report(): ...

    ``init_app`` reads every ``METRONOME_*`` key (listed in
    :mod:`flask_metronome.settings`) once; later changes of ``app.config`` are
    not seen. ``app.config["CELERY"]`` may hold Celery settings of your own.

    :param app: the Flask app; or call :meth:`init_app` later, also for several.
    """

    def __init__(self, app: Flask | None = None) -> None:
        self._tasks: list[DeclaredTask] = []
        self._schedules: list[DeclaredSchedule] = []
        self._states: list[State] = []
        if app is not None:
            self.init_app(app)

    # -- apps ------------------------------------------------------------------

    def init_app(self, app: Flask) -> None:
        """Give an app its Metronome: settings, Celery app, pages, API, commands.

        Connects to nothing.

        :raises SettingInvalid: a ``METRONOME_*`` value is unknown or wrong.
        :raises MetronomeError: the app has a Metronome already.
        """
        if EXTENSION in app.extensions:
            raise MetronomeError(
                "This Flask app has a Metronome already; call init_app once per app."
            )
        try:
            state = State(app, settings_from_app(app))
            state.celery = make_celery(state)
        except SettingInvalid as error:
            raise SettingRefused(error) from None
        state.declared = lambda: self._definitions(state)
        app.extensions[EXTENSION] = state
        self._states.append(state)
        for declared in self._tasks:
            _register(state, declared)
        register_api(app, state.settings.url_prefix)
        register_pages(app, state.settings.url_prefix)
        app.register_blueprint(metrics_blueprint(state))
        protect_from_flask_migrate(app)

    @property
    def state(self) -> State:
        """The current app's state, else that of the only app.

        :raises NotInitialized: before ``init_app``, or when it is not clear
            which of several apps is meant.
        """
        if has_app_context():
            found = current_app.extensions.get(EXTENSION)
            if found in self._states:
                return state_of(current_app)
        if len(self._states) > 1:
            raise NoCurrentApp
        if not self._states:
            raise NotInitialized
        return self._states[0]

    @property
    def celery(self) -> MetronomeCelery:
        """The Celery app, for ``celery -A module:metronome.celery`` and signatures."""
        celery: MetronomeCelery = self.state.celery
        return celery

    @property
    def schedules(self) -> Operations:
        """What can be done to schedules and runs, in the database."""
        return Operations(self.state)

    def authorize(self, decide: Callable[[Any, bool], bool]) -> Callable[..., bool]:
        """Let the app's own login decide who may use the pages and the API.

        :param decide: called with the request and whether it writes.
        """
        self.state.authorize = decide
        return decide

    # -- declarations ------------------------------------------------------------

    @overload
    def task(self, function: F, /) -> F: ...

    @overload
    def task(
        self,
        function: None = None,
        /,
        *,
        name: str | None = None,
        lane: str | None = None,
        schedule: Any = None,
        key: str | None = None,
        policies: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Callable[[F], F]: ...

    def task(
        self,
        function: Callable[..., Any] | None = None,
        /,
        *,
        name: str | None = None,
        lane: str | None = None,
        schedule: Any = None,
        key: str | None = None,
        policies: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Any:
        """Make a function a Celery task; with ``schedule``, a periodic one.

        :param name: the task's name; default ``module.function``.
        :param lane: its task class, so its queue; default ``METRONOME_DEFAULT_LANE``.
        :param schedule: a cadence, or one of Celery's schedule objects.
        :param key: the schedule's key; default from the function's name.
        :param policies: fields of :class:`Definition`, e.g. ``overlap``.
        :param options: Celery's task options, e.g. ``bind``, ``max_retries``; and
            ``redact``, names or parts of names of arguments that are not shown.
        :raises UnknownLane: ``METRONOME_LANES`` is set and does not list the lane.
        """

        def declare(decorated: Callable[..., Any]) -> Any:
            full = name or f"{decorated.__module__}.{decorated.__name__}"
            declared = DeclaredTask(
                function=decorated, name=full, lane=lane, options=options
            )
            for state in self._states:
                _register(state, declared)
            self._tasks.append(declared)
            if schedule is not None:
                slugged = key or slug(decorated.__name__.replace("_", "-"))
                self.schedule(slugged, full, schedule, lane=lane, **(policies or {}))
            return WaitingTask(
                self._task_named, (full,), name=full, __doc__=decorated.__doc__
            )

        return declare if function is None else declare(function)

    def schedule(
        self,
        key: str,
        task: Any,
        cadence: Any,
        *,
        lane: str | None = None,
        **policies: Any,
    ) -> None:
        """Declare a schedule; it is brought into the database by ``sync``.

        :param key: its readable identity; each key once.
        :param task: a task or its name.
        :param cadence: a cadence, or one of Celery's schedule objects.
        :param lane: default: the task's.
        :param policies: fields of :class:`Definition`, e.g. ``catchup="all"``.
        :raises ScheduleInvalid: a field is wrong, or the key is declared twice.
        """
        if any(known.key == key for known in self._schedules):
            raise ScheduleInvalid("key", "a key that is not declared yet", key)
        declared = DeclaredSchedule(
            key=key,
            task=task if isinstance(task, str) else task.name,
            cadence=cadence,
            lane=lane,
            policies=policies,
        )
        for state in self._states:
            if lane is not None:
                state.celery.add_lane(lane)
            definition_of(declared, state)
        self._schedules.append(declared)

    def _definitions(self, state: State) -> dict[str, dict[str, Definition]]:
        """What the code declares, by owner and key, checked against the app."""
        state.celery.load_tasks()
        for declared in self._schedules:
            if declared.lane is not None:
                state.celery.add_lane(declared.lane)
        own = {d.key: definition_of(d, state) for d in self._schedules}
        taken_in = from_beat_schedule(state)
        operations = Operations(state)
        for definition in (*own.values(), *taken_in.values()):
            operations.check(definition)
        twice = sorted(own.keys() & taken_in.keys())
        if twice:
            raise ScheduleInvalid("key", "a key that is declared once", twice[0])
        return {"code": own, "beat_schedule": taken_in}

    def _task_named(self, name: str) -> Any:
        try:
            state = self.state
        except NotInitialized:
            if not self._states:
                raise
            state = self._states[-1]
        return state.celery.tasks[name]


def _register(state: State, declared: DeclaredTask) -> None:
    if declared.lane is not None:
        state.celery.add_lane(declared.lane)
    # shared tasks would be registered with every other app of the process, too
    options = {"shared": False, **declared.options}
    if declared.lane is not None:
        options["lane"] = declared.lane
    state.celery.task(name=declared.name, **options)(declared.function)
