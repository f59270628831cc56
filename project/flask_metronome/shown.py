"""What people are shown of a task's arguments, result and errors: no secrets.

Key patterns come from ``METRONOME_REDACT`` for every task and from the task's own
option ``redact``. They apply to what is stored, to messages' descriptions of their
arguments and to Celery's events, which Flower shows; not to the arguments that the
body gets, nor to the result that the caller gets.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from celery.app.amqp import AMQP

from flask_metronome.redaction import MASK, key_matches, redact
from flask_metronome.state import state_of


def patterns_of(app: Any, task: str | None) -> tuple[str, ...]:
    """The key patterns whose values a task of that name does not show.

    :param app: the Celery app.
    """
    own = getattr(app.tasks.get(task), "redact", None) or ()
    own = (own,) if isinstance(own, str) else tuple(own)
    return (*state_of(app).settings.redact, *own)


def shown_arguments(
    app: Any, task: str | None, args: Any, kwargs: Any
) -> tuple[Any, Any]:
    """Arguments as they may be shown; a secret one also where it has no key."""
    patterns = patterns_of(app, task)
    shown = redact(args, patterns)
    if isinstance(args, (list, tuple)) and args:
        names = _parameters(app.tasks.get(task))
        shown = [
            MASK if at < len(names) and key_matches(names[at], patterns) else value
            for at, value in enumerate(shown)
        ]
        shown = tuple(shown) if isinstance(args, tuple) else shown
    return shown, redact(kwargs, patterns)


class ShowingAMQP(AMQP):
    """Makes Celery's messages, whose headers describe the arguments to people."""

    def as_task_v2(self, task_id: str, name: str, *args: Any, **options: Any) -> Any:
        """Celery's, with a description that holds no secrets."""
        message = super().as_task_v2(task_id, name, *args, **options)
        shown = shown_arguments(self.app, name, *message.body[:2])
        names = (("argsrepr", "args"), ("kwargsrepr", "kwargs"))
        for (header, field), value in zip(names, shown, strict=True):
            if options.get(header) is None:
                text = repr(value)[: self.argsrepr_maxsize]
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
