"""A worker's consumer that keeps what it cannot read.

Celery acknowledges a message whose body cannot be decoded, so it is gone and
nobody can say what it was. And a body that decodes to something that is no task
message (a number, say) ends Celery's worker, and then the next one that gets it.
Here both become dead letters.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from celery import signals
from celery.worker.consumer import Consumer
from kombu.exceptions import DecodeError

logger = logging.getLogger(__name__)


class KeepingConsumer(Consumer):
    """Celery's consumer, except for messages that cannot be understood."""

    def on_decode_error(self, message: Any, exc: BaseException) -> None:
        """A body that cannot be decoded."""
        self._refuse(message, DecodeError(str(exc)))

    def create_task_handler(self, *args: Any, **options: Any) -> Callable[..., Any]:
        """Celery's handler of messages; it does not die of one."""
        handle = super().create_task_handler(*args, **options)

        def on_task_received(message: Any) -> Any:
            error = complaint(message)
            return handle(message) if error is None else self._refuse(message, error)

        return on_task_received

    def _refuse(self, message: Any, error: BaseException) -> None:
        logger.error(
            "A message is kept as a dead letter, for it cannot be read: %r", error
        )
        message.reject_log_error(logger, self.connection_errors)
        signals.task_rejected.send(sender=self, message=message, exc=error)


def complaint(message: Any) -> DecodeError | None:
    """What is wrong with a decodable task message; ``None`` leaves it to Celery."""
    if "task" not in (message.headers or {}):
        return None
    try:
        payload = message.payload
    except Exception:
        return None  # Celery's handler meets the same, and tells what it is
    if is_task_body(payload):
        return None
    return DecodeError("the body must be [args, kwargs, embedded]")


def is_task_body(payload: Any) -> bool:
    """Whether a decoded body is one of a task message."""
    if isinstance(payload, dict) and "args" in payload:
        return True  # both of Celery's protocols at once
    return (
        isinstance(payload, (list, tuple))
        and len(payload) == 3
        and isinstance(payload[0], (list, tuple))
        and isinstance(payload[1], dict)
    )
