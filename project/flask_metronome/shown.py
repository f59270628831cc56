"""What people are shown of a task's arguments, result and errors: no secrets.

What people send back with the mark in place of a secret keeps what is stored.
Key patterns come from ``METRONOME_REDACT`` for every task and from the task's own
option ``redact``. They apply to what is stored, to messages' descriptions of their
arguments and to Celery's events, which Flower shows; not to the arguments that the
body gets, nor to the result that the caller gets.
"""

from __future__ import annotations

import inspect
import logging
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, TypeVar

from celery.app.amqp import AMQP

from flask_metronome.core.schedule import Definition
from flask_metronome.history.values import AuditLine, RunView, ScheduleView
from flask_metronome.redaction import (
    LOGGED_LIMIT,
    MASK,
    excerpt,
    key_matches,
    redact,
    unmasked,
)
from flask_metronome.state import state_of

View = TypeVar("View", bound=ScheduleView | RunView)
#: Fields beside the arguments that may hold secrets under a key.
_MAY_HOLD = ("kwargs", "options", "error", "publish_error")


def patterns_of(app: Any, task: str | None) -> tuple[str, ...]:
    """The key patterns whose values a task of that name does not show.

    :param app: the Celery app.
    """
    own = getattr(app.tasks.get(task), "redact", None) or ()
    own = (own,) if isinstance(own, str) else tuple(own)
    return (*state_of(app).settings.redact, *own)


def shown_arguments(
    app: Any,
    task: str | None,
    args: Any,
    kwargs: Any,
    *,
    text_limit: int | None = None,
) -> tuple[Any, Any]:
    """Arguments as they may be shown; a secret one also where it has no key."""
    patterns = patterns_of(app, task)
    shown = redact(args, patterns, text_limit=text_limit)
    if isinstance(args, (list, tuple)) and args:
        names = _parameters(app.tasks.get(task))
        shown = [
            MASK if at < len(names) and key_matches(names[at], patterns) else value
            for at, value in enumerate(shown)
        ]
        shown = tuple(shown) if isinstance(args, tuple) else shown
    return shown, redact(kwargs, patterns, text_limit=text_limit)


def shown_values(app: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a schedule, a run or a definition, as they may be shown."""
    task, shown = values.get("task"), dict(values)
    patterns = patterns_of(app, task)
    if "args" in values:
        shown["args"], _ = shown_arguments(app, task, values["args"], None)
    for name in _MAY_HOLD:
        if name in values:
            shown[name] = redact(values[name], patterns)
    if isinstance(values.get("declared"), Mapping):
        shown["declared"] = shown_values(app, values["declared"])
    return shown


def as_shown(app: Any, view: View) -> View:
    """A schedule or a run as it may be shown."""
    names = ("task", "args", *_MAY_HOLD, "declared")
    values = {name: getattr(view, name) for name in names if hasattr(view, name)}
    return replace(view, **shown_values(app, values))


def audited_as_shown(app: Any, line: AuditLine) -> AuditLine:
    """A line of the audit, whose detail is a definition or pairs of its fields."""
    detail = line.detail
    if detail is None:
        return line
    if isinstance(detail.get("key"), str):
        return replace(line, detail=shown_values(app, detail))
    sides = [
        shown_values(app, {"task": line.task, **_side(detail, at)}) for at in (0, 1)
    ]
    shown = {
        name: [side[name] for side in sides] if _is_pair(value) else value
        for name, value in detail.items()
    }
    return replace(line, detail=shown)


def as_meant(app: Any, given: Definition, stored: Definition | None) -> Definition:
    """The definition that somebody gave who was shown the stored one.

    :param stored: ``None`` for a new one.
    :raises ScheduleInvalid: a mark stands where nothing is stored.
    """
    old = {} if stored is None else stored.to_dict()
    shown, values = shown_values(app, old), given.to_dict()
    meant = {
        name: unmasked(values[name], old.get(name), shown.get(name), name)
        for name in ("args", "kwargs", "options")
    }
    return replace(given, **(meant | {"args": tuple(meant["args"])}))


class ShowingLog(logging.Filter):
    """Takes secrets, and endless text, out of what Celery's worker logs of tasks."""

    #: Celery's loggers that name arguments, results, errors or bodies of messages.
    LOGGERS = (
        "celery.app.trace",
        "celery.pool",
        "celery.worker.consumer.consumer",
        "celery.worker.request",
        "celery.worker.strategy",
    )

    def __init__(self, app: Any) -> None:
        super().__init__()
        self._app = app

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the record; it is always logged."""
        given: Any = record.args
        task = given.get("name") if isinstance(given, Mapping) else None
        patterns = patterns_of(self._app, task)
        if str(record.msg).startswith("TaskPool: Apply") and isinstance(given, tuple):
            # whole bodies, whose positional arguments have no names
            record.args = (*given[:1], *(MASK for _ in given[1:]))
        text = record.getMessage()
        shown = excerpt(text, patterns, LOGGED_LIMIT)
        if shown != text:
            record.msg, record.args = shown, ()
        if hasattr(record, "data"):
            record.data = redact(record.data, patterns, text_limit=LOGGED_LIMIT)
        if isinstance(record.exc_info, tuple) and record.exc_info[0] is not None:
            lines = "".join(traceback.format_exception(*record.exc_info))
            # handlers print this in place of the exception
            record.exc_text = excerpt(
                lines.rstrip(), patterns, LOGGED_LIMIT, both_ends=True
            )
        return True


def clean_logs(app: Any) -> None:
    """Take secrets out of what this process's worker logs."""
    for name in ShowingLog.LOGGERS:
        logging.getLogger(name).addFilter(ShowingLog(app))


class ShowingAMQP(AMQP):
    """Makes Celery's messages, whose headers describe the arguments to people."""

    def as_task_v2(self, task_id: str, name: str, *args: Any, **options: Any) -> Any:
        """Celery's, with a description that holds no secrets."""
        message = super().as_task_v2(task_id, name, *args, **options)
        limit = self.argsrepr_maxsize
        shown = shown_arguments(self.app, name, *message.body[:2], text_limit=limit)
        patterns = patterns_of(self.app, name)
        names = (("argsrepr", "args"), ("kwargsrepr", "kwargs"))
        for (header, field), value in zip(names, shown, strict=True):
            if options.get(header) is None:
                text = excerpt(repr(value), patterns, limit)
                message.headers[header] = text
                if message.sent_event:
                    message.sent_event[field] = text
        return message


def _parameters(task: Any) -> Sequence[str]:
    run = getattr(task, "run", None)
    if run is None:
        return ()
    return _names(getattr(run, "__func__", run), inspect.ismethod(run))


@lru_cache(maxsize=1024)
def _names(function: Any, bound: bool) -> tuple[str, ...]:
    try:
        names = tuple(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return ()
    return names[1:] if bound else names


def _is_pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2


def _side(detail: Mapping[str, Any], at: int) -> dict[str, Any]:
    """The fields before, or after, an edit."""
    return {name: pair[at] for name, pair in detail.items() if _is_pair(pair)}
