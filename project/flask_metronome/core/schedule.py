"""A schedule: what to run, on which cadence, in which lane, under which policies."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from typing import Any

from flask_metronome.core.cadence import Cadence, cadence_from_dict
from flask_metronome.core.timing import Timing
from flask_metronome.errors import ScheduleInvalid

CATCHUPS = ("latest", "earliest", "all", "none")
OVERLAPS = ("skip", "allow", "queue_one", "queue_all", "cancel_previous")
ON_LOST = ("fail", "rerun")
OWNERS = ("code", "api", "beat_schedule", "import")
STATES = ("active", "paused", "finished", "retired", "broken")
#: Message options that a schedule may set.
OPTIONS = ("priority", "headers", "expires", "soft_time_limit", "time_limit")
#: Runs that one tick makes of what was missed: it is one transaction.
MOST_CAUGHT_UP = 10_000

_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,189}")
_LANE = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Definition:
    """What a person says about a schedule; everything else follows from it.

    ``bad_in_a_row`` runs that went wrong open an incident, ``good_to_close``
    that went well close it. Durations are seconds. A limit that is ``None`` is
    derived from the interval between two due times (see :class:`Limits`).

    :raises ScheduleInvalid: naming the field, what was expected and what came.
    """

    key: str
    task: str
    cadence: Cadence
    lane: str = "default"
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    description: str | None = None
    start_at: datetime | None = None
    end_at: datetime | None = None
    max_runs: int | None = None
    jitter_seconds: float = 0.0
    catchup: str = "latest"
    catchup_limit: int = 100
    catchup_window_seconds: float = 86_400.0
    grace_seconds: float | None = None
    start_deadline_seconds: float | None = None
    late_after_seconds: float | None = None
    max_runtime_seconds: float | None = None
    overlap: str = "skip"
    concurrency_key: str | None = None
    on_lost: str = "fail"
    bad_in_a_row: int = 1
    good_to_close: int = 1
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _match("key", self.key, _KEY, "letters, digits and . _ : -, at most 190")
        _match("lane", self.lane, _LANE, "a lane name (a-z, 0-9, _ and -)")
        if not isinstance(self.task, str) or not 0 < len(self.task) <= 200:
            raise ScheduleInvalid("task", "a task name", self.task)
        _one_of("catchup", self.catchup, CATCHUPS)
        _one_of("overlap", self.overlap, OVERLAPS)
        _one_of("on_lost", self.on_lost, ON_LOST)
        for name in _COUNTS:
            _positive(name, getattr(self, name), whole=True)
        if self.catchup_limit > MOST_CAUGHT_UP:
            expected = f"a whole number up to {MOST_CAUGHT_UP}"
            raise ScheduleInvalid("catchup_limit", expected, self.catchup_limit)
        for name in _SECONDS:
            _positive(name, getattr(self, name))
        if not _is_number(self.jitter_seconds) or not 0 <= self.jitter_seconds < 1e11:
            raise ScheduleInvalid(
                "jitter_seconds", "a number of 0 or more", self.jitter_seconds
            )
        for name, longest in (("description", 10_000), ("concurrency_key", 190)):
            _text(name, getattr(self, name), longest)
        for name in ("start_at", "end_at"):
            _aware(name, getattr(self, name))
        if self.start_at and self.end_at and self.end_at < self.start_at:
            raise ScheduleInvalid("end_at", "an instant after start_at", self.end_at)
        if getattr(self.cadence, "schedule", None) == self.key:
            raise ScheduleInvalid("cadence", "another schedule to follow", self.key)
        _message_options(self.options)

    @property
    def timing(self) -> Timing:
        """The cadence inside its window."""
        return Timing(
            cadence=self.cadence,
            start_at=self.start_at,
            end_at=self.end_at,
            jitter_seconds=self.jitter_seconds,
        )

    def overlap_of(self, *, catchup: bool) -> str:
        """The overlap policy of a run.

        Skipping is for what is on time; of what was missed «all» means each.
        """
        each = catchup and self.catchup == "all" and self.overlap == "skip"
        return "queue_all" if each else self.overlap

    def to_dict(self) -> dict[str, Any]:
        """The definition as JSON values; :meth:`from_dict` reads it back."""
        values: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        values["cadence"] = self.cadence.to_dict()
        values["args"] = list(self.args)
        values["kwargs"] = dict(self.kwargs)
        values["options"] = dict(self.options)
        for name in ("start_at", "end_at"):
            moment = values[name]
            values[name] = moment.astimezone(UTC).isoformat() if moment else None
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Definition:
        """Read a definition from JSON values.

        :raises ScheduleInvalid: on an unknown, missing or wrong field.
        :raises CadenceInvalid: when the cadence cannot be understood.
        """
        _only_known(values, {f.name for f in fields(cls)})
        given = {
            name: value
            for name, value in values.items()
            if value is not None or name not in _DEFAULTED
        }
        for name, read in _READERS.items():
            if given.get(name) is not None:
                given[name] = read(name, given[name])
        return cls(**given)


def _only_known(values: Mapping[str, Any], known: set[str]) -> None:
    for name in values:
        if name not in known:
            raise ScheduleInvalid(name, "a field of a schedule", values[name])
    for name in ("key", "task", "cadence"):
        if values.get(name) in (None, ""):
            raise ScheduleInvalid(name, "a value", values.get(name))


_COUNTS = ("max_runs", "catchup_limit", "bad_in_a_row", "good_to_close")
_SECONDS = (
    "catchup_window_seconds",
    "grace_seconds",
    "start_deadline_seconds",
    "late_after_seconds",
    "max_runtime_seconds",
)
_DEFAULTED = {
    "lane",
    "args",
    "kwargs",
    "jitter_seconds",
    "catchup",
    "catchup_limit",
    "catchup_window_seconds",
    "overlap",
    "on_lost",
    "bad_in_a_row",
    "good_to_close",
    "options",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Schedule:
    """A definition in the database, with how far it has come."""

    id: str
    definition: Definition
    state: str = "active"
    owner: str = "api"
    revision: int = 1
    next_due_at: datetime | None = None
    last_due_at: datetime | None = None
    runs_made: int = 0
    paused_at: datetime | None = None
    paused_by: str | None = None
    paused_reason: str | None = None
    error: str | None = None
    error_at: datetime | None = None
    declared: Mapping[str, Any] | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None

    @property
    def key(self) -> str:
        """The schedule's readable identity."""
        return self.definition.key

    @property
    def concurrency_key(self) -> str:
        """What its runs exclude each other by; by default the schedule itself."""
        return self.definition.concurrency_key or self.id

    @property
    def is_used_up(self) -> bool:
        """Whether it has made all the runs that it may."""
        most = self.definition.max_runs
        return most is not None and self.runs_made >= most

    def with_definition(self, definition: Definition) -> Schedule:
        """The same schedule, said differently."""
        return replace(self, definition=definition, revision=self.revision + 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """When a due time counts as missed and a start as late, in seconds."""

    grace_seconds: float
    late_after_seconds: float

    @classmethod
    def of(cls, definition: Definition, interval_seconds: float | None) -> Limits:
        """The limits at a due time: as set, else by the interval after it.

        :param interval_seconds: to the following due time; ``None``: none follows.
        """
        return cls.by_interval(
            interval_seconds,
            grace_seconds=definition.grace_seconds,
            late_after_seconds=definition.late_after_seconds,
        )

    @classmethod
    def by_interval(
        cls,
        interval_seconds: float | None,
        *,
        grace_seconds: float | None,
        late_after_seconds: float | None,
    ) -> Limits:
        """The same from what was set; ``None``: nothing was."""
        interval = _A_YEAR if interval_seconds is None else interval_seconds
        grace, late = grace_seconds, late_after_seconds
        return cls(
            grace_seconds=_clamp(interval / 2, 30, 1800) if grace is None else grace,
            late_after_seconds=_clamp(interval / 10, 15, 600) if late is None else late,
        )


_A_YEAR = 365 * 86_400.0


def _clamp(value: float, low: float, high: float) -> float:
    return max(low, min(high, value))


def _match(name: str, value: Any, pattern: re.Pattern[str], expected: str) -> None:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise ScheduleInvalid(name, expected, value)


def _one_of(name: str, value: Any, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ScheduleInvalid(name, "one of " + ", ".join(allowed), value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _positive(name: str, value: Any, *, whole: bool = False) -> None:
    if value is None:
        return
    kind = "a whole number" if whole else "a number"
    # what the database's columns hold
    wrong = not _is_number(value) or not 0 < value < (2**31 if whole else 1e11)
    if wrong or (whole and value != int(value)):
        raise ScheduleInvalid(name, f"{kind} above 0", value)


def _message_options(options: Mapping[str, Any]) -> None:
    """What no message could carry would hold up its schedule for ever."""
    for name in options:
        if name not in OPTIONS:
            raise ScheduleInvalid("options", "any of " + ", ".join(OPTIONS), name)
    priority, headers = options.get("priority"), options.get("headers")
    if priority is not None and not (
        _is_number(priority) and priority == priority // 1 and 0 <= priority <= 255
    ):
        raise ScheduleInvalid("options.priority", "a whole number to 255", priority)
    if headers is not None and not isinstance(headers, Mapping):
        raise ScheduleInvalid("options.headers", "an object", headers)
    for name in ("soft_time_limit", "time_limit"):
        _positive(f"options.{name}", options.get(name))


def _text(name: str, value: Any, longest: int) -> None:
    if value is None or (isinstance(value, str) and len(value) <= longest):
        return
    raise ScheduleInvalid(name, f"a text of at most {longest} characters", value)


def _aware(name: str, value: Any) -> None:
    if value is None:
        return
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise ScheduleInvalid(name, "an instant with a time zone", value)
    # room for what is added to it: zones, grace, jitter
    if not 1 < value.year < 9000:
        raise ScheduleInvalid(name, "an instant before the year 9000", value)


def _instant(name: str, value: Any) -> datetime:
    if isinstance(value, datetime):
        return value
    try:
        return datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise ScheduleInvalid(
            name, "an instant such as 2027-01-31T08:00:00Z", value
        ) from None


def _list(name: str, value: Any) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise ScheduleInvalid(name, "a list", value)
    return tuple(value)


def _cadence(name: str, value: Any) -> Cadence:
    return cadence_from_dict(_object(name, value))


def _object(name: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ScheduleInvalid(name, "an object", value)
    return value


_READERS = {
    "cadence": _cadence,
    "args": _list,
    "kwargs": _object,
    "options": _object,
    "start_at": _instant,
    "end_at": _instant,
}
