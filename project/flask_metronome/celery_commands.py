"""What ``celery`` gains: ``-A`` takes a Flask app, and ``celery -A app metronome``.

Celery imports this for every project in the same environment, also for those
that have nothing to do with Metronome. So nothing of ours is imported before an
app of ours was found, and everything else goes to Celery's own search unchanged.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click
from celery.bin.base import CeleryCommand

FindApp = Callable[..., Any]
Invoke = Callable[[click.Context], Any]

_CELERY_CLI = "celery.bin.celery"


@click.command(cls=CeleryCommand, short_help="Beats, workers and what is due next.")
@click.pass_context
def metronome(ctx: click.Context) -> None:
    """Show beats, workers and the schedules that are due next."""
    from flask_metronome.cli.status import print_status
    from flask_metronome.state import state_of

    with _one_sentence(_is_any):
        print_status(state_of(ctx.obj.app))


def find_flask_apps_too(original: FindApp) -> FindApp:
    """Celery's search for ``-A``, that also understands Flask apps with Metronome.

    :param original: Celery's own ``find_app``.
    """

    @functools.wraps(original)
    def find_app(app: Any, *args: Any, **kwargs: Any) -> Any:
        with _one_sentence(_is_ours):
            try:
                found = original(app, *args, **kwargs)
            except AttributeError:
                found = _flask_app_in(app)
                if found is None:
                    raise
            return _celery_app_of(found)

    return find_app


def _tell_in_one_sentence() -> None:
    """Have the commands of Celery that is being called tell our errors so.

    A broker that cannot be started, say, is met first by what beat prints at its
    start, by Flower's settings, or by ``celery call``.
    """
    context = click.get_current_context(silent=True)
    group = context.command if context is not None else None
    if not isinstance(group, click.Group):
        return
    for command in group.commands.values():
        if not hasattr(command.invoke, "__wrapped__"):
            vars(command)["invoke"] = _telling(command.invoke)


def _telling(invoke: Invoke) -> Invoke:
    @functools.wraps(invoke)
    def invoke_and_tell(context: click.Context) -> Any:
        with _one_sentence(_is_ours):
            return invoke(context)

    return invoke_and_tell


def _flask_app_in(name: Any) -> Any:
    """The Flask app of a module that only has ``create_app`` or its like."""
    module = sys.modules.get(str(name))
    flask_cli = sys.modules.get("flask.cli")
    if module is None or flask_cli is None or not _is_loaded():
        return None
    try:
        return flask_cli.find_best_app(module)
    except click.UsageError as error:
        flasks_own = type(error).__module__.startswith("flask.")
        if flasks_own and len(_apps_of_ours(module)) < 2:
            return None
        raise  # which of several is meant, or what the factory raised


def _apps_of_ours(module: Any) -> list[Any]:
    from flask import Flask

    from flask_metronome.state import EXTENSION

    values = [value for value in vars(module).values() if isinstance(value, Flask)]
    return [value for value in values if EXTENSION in value.extensions]


def _celery_app_of(found: Any) -> Any:
    """The Celery app of a Flask app or its factory; what is neither, unchanged."""
    if not _is_loaded():
        return found
    if inspect.isfunction(found) and _needs_no_arguments(found):
        found = found()
    from flask import Flask

    from flask_metronome.errors import NotInitialized
    from flask_metronome.flower_settings import install_flower
    from flask_metronome.state import state_of

    try:
        celery_app = state_of(found).celery
    except NotInitialized:
        if isinstance(found, Flask):
            raise
        return found
    install_flower()
    _tell_in_one_sentence()
    return celery_app


def _is_loaded() -> bool:
    # An app of ours cannot be there before what it is made of was imported.
    return "flask_metronome.state" in sys.modules


def _needs_no_arguments(function: Callable[..., Any]) -> bool:
    return all(
        parameter.default is not parameter.empty
        or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        for parameter in inspect.signature(function).parameters.values()
    )


@contextmanager
def _one_sentence(speaks: Callable[[Exception], bool]) -> Iterator[None]:
    """End the program with one sentence when an error of a known kind comes by.

    Celery prints a traceback for whatever is raised while it loads an app, so the
    only way out is :class:`SystemExit`.

    :param speaks: whether an error may be told as a sentence.
    """
    try:
        yield
    except Exception as raised:
        error = _before_kombu(raised)
        if not speaks(error):
            raise
        from flask_metronome.cli.failure import as_failure

        failure = as_failure(error)
        if failure is None:
            raise
        failure.show()
        raise SystemExit(failure.exit_code) from None


def _before_kombu(error: Exception) -> Exception:
    """What an import really raised: kombu turns every ValueError into its own."""
    former = error.__context__
    if type(error) is ValueError and str(error).startswith("Couldn't import"):
        return former if isinstance(former, Exception) else error
    return error


def _is_ours(error: Exception) -> bool:
    home = type(error).__module__.partition(".")[0]
    # Flask's own NoAppException comes when FLASK_APP leads nowhere.
    return home in ("flask", "flask_metronome", "metronome_broker")


def _is_any(_error: Exception) -> bool:
    return True


def _install() -> None:
    """Put our search in front of Celery's, where its command line looks it up."""
    cli = sys.modules.get(_CELERY_CLI)
    original = getattr(cli, "find_app", None)
    if original is not None and not hasattr(original, "__wrapped__"):
        cli.find_app = find_flask_apps_too(original)  # type: ignore[union-attr]


_install()
