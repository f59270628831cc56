"""The schedules of RedBeat (2.x), from its hashes in Redis."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from types import SimpleNamespace
from typing import Any, Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dateutil.rrule import weekday

from flask_metronome.celery_cadence import cadence_from_celery
from flask_metronome.core.cadence import Cadence, every
from flask_metronome.errors import CadenceInvalid, ScheduleInvalid, SourceUnreadable
from flask_metronome.importers.apply_options import parts_of
from flask_metronome.importers.imported import (
    CannotCarry,
    Found,
    ImportedSchedule,
    found_or_reason,
)
from flask_metronome.importers.written import crontab_cadence, sayable

PEER = "redbeat"
PREFIX = "redbeat:"
_GLOB = str.maketrans({sign: f"\\{sign}" for sign in "\\*?[]^"})


class Hashes(Protocol):
    """What is asked of Redis; text comes as text."""

    def scan_iter(self, match: str) -> Iterator[str]:
        """The keys that match a glob."""

    def type(self, key: str) -> str:
        """What kind of value a key has."""

    def hget(self, key: str, field: str) -> str | None:
        """One field of a hash."""


@contextmanager
def redis_hashes(url: str, *, timeout_seconds: float = 10.0) -> Iterator[Hashes]:
    """A Redis, while it is open.

    :raises SourceUnreadable: the URL is none of Redis, or it does not answer.
    :raises ModuleNotFoundError: the extra ``redbeat`` is not installed.
    """
    redis = importlib.import_module("redis")
    try:
        client = redis.Redis.from_url(
            url,
            decode_responses=True,
            socket_connect_timeout=timeout_seconds,
            socket_timeout=timeout_seconds,
        )
    except ValueError:
        raise SourceUnreadable(
            "--url: expected a redis://, rediss:// or unix:// URL, got another."
        ) from None
    try:
        yield client
    except redis.RedisError as error:
        raise SourceUnreadable(f"The Redis {url} does not answer: {error}") from error
    finally:
        client.close()


def read_redbeat(
    hashes: Hashes, *, tz: str, rule_tz: str | None = None, prefix: str = PREFIX
) -> list[Found]:
    """Every schedule, enabled or not.

    :param tz: the zone of crontabs; RedBeat keeps none, and uses that of Celery.
    :param rule_tz: the zone that rrules were written in; RedBeat keeps only its
        offset, and goes by that.
    :param prefix: ``redbeat_key_prefix``.
    """
    keys = sorted(hashes.scan_iter(match=f"{prefix.translate(_GLOB)}*"))
    texts = {
        key.removeprefix(prefix): hashes.hget(key, "definition")
        for key in keys
        # beside the schedules there are a lock, an index and a set of names
        if hashes.type(key) == "hash"
    }
    return [
        found_or_reason(name, partial(_imported, name, text, tz, rule_tz))
        for name, text in texts.items()
    ]


def _imported(name: str, text: str | None, tz: str, rule_tz: str | None) -> Found:
    if not text:
        return CannotCarry(name=name, reason="it has no definition")
    definition = _decoded(text)
    enabled = definition.get("enabled", True)
    return ImportedSchedule(
        name=str(definition.get("name") or name),
        task=str(definition.get("task") or ""),
        cadence=_cadence(definition.get("schedule"), tz, rule_tz),
        args=tuple(sayable("args", definition.get("args") or [])),
        kwargs=sayable("kwargs", definition.get("kwargs") or {}),
        paused=None if enabled else f"disabled in {PEER}",
        **parts_of(definition.get("options") or {}),
    )


def _decoded(text: str) -> Mapping[str, Any]:
    try:
        found = json.loads(text, object_hook=_value)
    except (TypeError, ValueError, ZoneInfoNotFoundError) as error:
        raise ScheduleInvalid("definition", f"RedBeat's JSON ({error})", text) from None
    if not isinstance(found, dict):
        raise ScheduleInvalid("definition", "a JSON object", text)
    return found


def _value(found: dict[str, Any]) -> Any:
    """What RedBeat writes for a value that JSON does not have."""
    kind = found.get("__type__")
    parts = {name: value for name, value in found.items() if name != "__type__"}
    if kind == "datetime":
        zone = parts.pop("timezone", "UTC")
        # a zone's name, or its offset in seconds
        named = isinstance(zone, str)
        tzinfo = ZoneInfo(zone) if named else timezone(timedelta(seconds=zone))
        return datetime(**parts, tzinfo=tzinfo)
    if kind == "weekday":
        return weekday(**parts)
    return found


def _cadence(schedule: Any, tz: str, rule_tz: str | None) -> Cadence:
    kind = schedule.get("__type__") if isinstance(schedule, dict) else None
    if kind == "interval":
        return every(schedule.get("every"))
    if kind == "crontab":
        fields = {name: schedule[name] for name in schedule if name != "__type__"}
        return crontab_cadence(tz, **fields)
    if kind == "rrule":
        return _rule(schedule, rule_tz)
    raise CadenceInvalid("schedule", "an interval, a crontab or an rrule", schedule)


def _rule(schedule: dict[str, Any], rule_tz: str | None) -> Cadence:
    parts: dict[str, Any] = {"byweekday": None, **schedule}
    for name in ("dtstart", "until"):
        if isinstance(parts.get(name), (int, float)):
            parts[name] = datetime.fromtimestamp(parts[name], UTC)
    offset = schedule.get("dtstart_tz") or 0
    zone = _zone_of(parts.get("dtstart"), offset, rule_tz)
    return cadence_from_celery(SimpleNamespace(**parts), tz=zone)


def _zone_of(start: datetime | None, minutes: float, rule_tz: str | None) -> str:
    """The zone whose wall clock the rule means.

    RedBeat goes by a fixed offset all year; the named zone where that has the same
    offset at the start, else the zone that is always as far from UTC.
    """
    offset = timedelta(minutes=minutes)
    if rule_tz and start and start.astimezone(ZoneInfo(rule_tz)).utcoffset() == offset:
        return rule_tz
    hours, rest = divmod(offset, timedelta(hours=1))
    if rest:
        expected = "whole hours from UTC, or the zone of its start by --tz"
        raise CadenceInvalid("dtstart_tz", expected, minutes)
    # POSIX counts the other way round: Etc/GMT-1 is one hour ahead of UTC
    return f"Etc/GMT{-hours:+d}" if hours else "UTC"
