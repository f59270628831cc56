"""A row of a ``PeriodicTask`` table, as two of the peers have it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask_metronome.core.cadence import Cadence, Once
from flask_metronome.importers.imported import CannotCarry, Found, ImportedSchedule
from flask_metronome.importers.written import instant, json_list, json_object, seconds

#: What routes a message at the peers; here the lane does.
_ROUTES = ("exchange", "routing_key")


def imported_from_row(
    row: Mapping[str, Any],
    cadence: Cadence,
    *,
    peer: str,
    headers: Mapping[str, Any] | None = None,
) -> Found:
    """The schedule of a row.

    :param headers: what the peer adds to the headers of its messages.
    :raises InputInvalid: a field cannot be read.
    """
    name = str(row["name"])
    enabled, one_off = bool(row["enabled"]), bool(row.get("one_off"))
    if enabled and one_off and row.get("total_run_count"):
        return CannotCarry(name=name, reason="it was to run once and did", over=True)
    return ImportedSchedule(
        name=name,
        task=str(row["task"]),
        cadence=cadence,
        args=json_list("args", row.get("args")),
        kwargs=json_object("kwargs", row.get("kwargs")),
        queue=row.get("queue") or None,
        description=row.get("description") or None,
        start_at=instant("start_time", row.get("start_time")),
        end_at=instant("expires", row.get("expires")),
        max_runs=1 if one_off and not isinstance(cadence, Once) else None,
        start_deadline_seconds=seconds("expire_seconds", row.get("expire_seconds")),
        options=_options(row, headers or {}),
        paused=None if enabled else f"disabled in {peer}",
        lost=_lost(row),
    )


def _options(row: Mapping[str, Any], added: Mapping[str, Any]) -> dict[str, Any]:
    options: dict[str, Any] = {}
    headers = json_object("headers", row.get("headers")) | dict(added)
    if headers:
        options["headers"] = headers
    if row.get("priority") is not None:
        options["priority"] = row["priority"]
    return options


def _lost(row: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(
        f"{name} {row[name]!r}: its lane routes it" for name in _ROUTES if row.get(name)
    )
