"""What the code of an app declares: tasks with lanes, and schedules."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from flask_metronome.celery_cadence import cadence_from_celery
from flask_metronome.core.cadence import Cadence
from flask_metronome.core.schedule import Definition
from flask_metronome.errors import ScheduleInvalid
from flask_metronome.state import State

_LONGEST_KEY = 190


@dataclass(frozen=True, kw_only=True, slots=True)
class DeclaredTask:
    """A function that becomes a task of every app it is declared for."""

    function: Callable[..., Any]
    name: str
    lane: str | None
    options: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class DeclaredSchedule:
    """A schedule in code; its lane is the task's unless it names one.

    ``cadence`` is one of ours or one of Celery's schedule objects.
    """

    key: str
    task: str
    cadence: Any
    lane: str | None = None
    policies: Mapping[str, Any] = field(default_factory=dict)


def definition_of(declared: DeclaredSchedule, state: State) -> Definition:
    """The definition that a declaration stands for in one app.

    :raises ScheduleInvalid: naming the field and what was expected.
    """
    policies = state.defaults_for(declared.task) | dict(declared.policies)
    if declared.lane is not None:
        policies["lane"] = declared.lane
    if "args" in policies:
        policies["args"] = tuple(policies["args"])
    try:
        return Definition(
            key=declared.key,
            task=declared.task,
            cadence=cadence(declared.cadence, state),
            **policies,
        )
    except TypeError as error:
        named = re.search(r"argument '(\w+)'", str(error))
        field_name = named.group(1) if named else "schedule"
        raise ScheduleInvalid(
            field_name, "a field of a schedule", policies.get(field_name)
        ) from error


def cadence(given: Any, state: State) -> Cadence:
    """A cadence of ours, or Celery's schedule object read as one."""
    if isinstance(given, Cadence):
        return given
    return cadence_from_celery(given, tz=state.settings.timezone)


def from_beat_schedule(state: State) -> dict[str, Definition]:
    """The schedules in Celery's own ``beat_schedule``, by key.

    As in Celery beat, their runs may overlap. A queue of theirs is a lane. Names that
    differ only in what a key cannot say stay apart.

    :raises UnknownLane: ``METRONOME_LANES`` is set and does not list it.
    """
    entries = {str(k): v for k, v in (state.celery.conf.beat_schedule or {}).items()}
    alike = Counter(map(key_of, entries))
    found = {}
    for name, given in entries.items():
        key = key_of(name)
        if alike[key] > 1 and key != name:
            key = _told_apart(key, name)
        found[key] = definition_of(_from_celery(key, given, state), state)
    return found


def _from_celery(key: str, given: Mapping[str, Any], state: State) -> DeclaredSchedule:
    for name in ("task", "schedule"):
        if name not in given:
            raise ScheduleInvalid(f"beat_schedule[{key!r}].{name}", "a value", None)
    options = dict(given.get("options") or {})
    expires = options.pop("expires", None)
    queue = options.pop("queue", None)
    policies: dict[str, Any] = {
        "overlap": "allow",
        "args": tuple(given.get("args") or ()),
        "kwargs": dict(given.get("kwargs") or {}),
        "options": {k: v for k, v in options.items() if k in _CARRIED},
    }
    if isinstance(expires, (int, float)) and not isinstance(expires, bool):
        policies["start_deadline_seconds"] = expires
    return DeclaredSchedule(
        key=key,
        task=given["task"],
        cadence=given["schedule"],
        lane=_lane_of_queue(queue, state),
        policies=policies,
    )


_CARRIED = ("priority", "headers", "soft_time_limit", "time_limit")


#: What Celery calls the queue of whatever names none.
_CELERYS_DEFAULT = "celery"


def _lane_of_queue(queue: Any, state: State) -> str | None:
    if not queue or queue == _CELERYS_DEFAULT:
        return None
    name = str(getattr(queue, "name", queue)).removeprefix("metronome.")
    state.celery.add_lane(name)
    return name


def slug(name: str) -> str:
    """A readable key from any name."""
    key = re.sub(r"[^A-Za-z0-9._:-]+", "-", name).strip("-._:")
    return key[:_LONGEST_KEY] or "schedule"


def key_of(name: str) -> str:
    """The key of another beat's schedule, always the same.

    What a key cannot say is made up for by a digest, so that names in other scripts
    stay apart.
    """
    key = slug(name)
    whole = name.isascii() and len(name) <= _LONGEST_KEY
    return key if whole else _told_apart(key, name)


def _told_apart(key: str, name: str) -> str:
    digest = blake2b(name.encode(), digest_size=4).hexdigest()
    return f"{key[: _LONGEST_KEY - 9]}-{digest}"
