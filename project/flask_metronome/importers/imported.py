"""A peer's schedule as it was read, or why it cannot be carried over."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias

from flask_metronome.core.cadence import Cadence
from flask_metronome.errors import InputInvalid


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportedSchedule:
    """What a peer says about one schedule, in our words.

    :param name: the peer's name for it.
    :param queue: the queue that it names; None: the task's own.
    :param start_deadline_seconds: how long its message lives.
    :param paused: why it does not run at the peer; None: it runs.
    :param lost: what of it has no counterpart here, one sentence each.
    """

    name: str
    task: str
    cadence: Cadence
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    queue: str | None = None
    description: str | None = None
    start_at: datetime | None = None
    end_at: datetime | None = None
    max_runs: int | None = None
    start_deadline_seconds: float | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    paused: str | None = None
    lost: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class CannotCarry:
    """A peer's schedule that is not carried over, and why.

    :param over: whether it has run for the last time, so that nothing is lost.
    """

    name: str
    reason: str
    over: bool = False


_NONSENSE = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)

Found: TypeAlias = ImportedSchedule | CannotCarry


def found_or_reason(name: str, read: Callable[[], Found]) -> Found:
    """What ``read`` finds; what is wrong with it becomes the reason."""
    try:
        return read()
    except InputInvalid as error:
        return CannotCarry(name=name, reason=str(error))
    except _NONSENSE as error:
        # a row that nobody foresaw must not keep the others from being carried
        said = f"it cannot be read: {type(error).__name__}: {error}"
        return CannotCarry(name=name, reason=said)
