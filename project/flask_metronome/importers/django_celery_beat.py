"""The schedules of django-celery-beat (2.x), from its tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from flask_metronome.core.cadence import Cadence, every, once, solar
from flask_metronome.errors import ScheduleInvalid
from flask_metronome.importers.imported import Found, found_or_reason
from flask_metronome.importers.peer_tables import PeerTables
from flask_metronome.importers.periodic_task import imported_from_row
from flask_metronome.importers.written import crontab_cadence, instant

PEER = "django-celery-beat"
_TABLE = "django_celery_beat_"

Rows = Mapping[Any, Mapping[str, Any]]


def read_django_celery_beat(tables: PeerTables) -> list[Found]:
    """Every periodic task, with the schedule that it points to.

    :raises SourceUnreadable: the tables are not there.
    """
    tasks = tables.rows(f"{_TABLE}periodictask")
    kinds = {kind: tables.by_id(f"{_TABLE}{kind}schedule") for kind in CADENCES}
    return [
        found_or_reason(str(task["name"]), partial(_imported, task, kinds))
        for task in tasks
    ]


def _imported(task: Mapping[str, Any], kinds: Mapping[str, Rows]) -> Found:
    named = [kind for kind in kinds if task.get(f"{kind}_id") is not None]
    if len(named) != 1:
        raise ScheduleInvalid("schedule", "one", " and ".join(named) or None)
    kind = named[0]
    schedule = kinds[kind].get(task[f"{kind}_id"])
    if schedule is None:
        raise ScheduleInvalid(kind, "a schedule that is there", task[f"{kind}_id"])
    return imported_from_row(
        task,
        CADENCES[kind](schedule),
        peer=PEER,
        headers={"periodic_task_name": task["name"]},
    )


def _interval(row: Mapping[str, Any]) -> Cadence:
    return every(row["every"], row["period"])


def _crontab(row: Mapping[str, Any]) -> Cadence:
    return crontab_cadence(
        # old tables have no zone
        str(row.get("timezone") or "UTC"),
        minute=row["minute"],
        hour=row["hour"],
        day_of_month=row["day_of_month"],
        month_of_year=row["month_of_year"],
        day_of_week=row["day_of_week"],
    )


def _solar(row: Mapping[str, Any]) -> Cadence:
    return solar(row["event"], float(row["latitude"]), float(row["longitude"]))


def _clocked(row: Mapping[str, Any]) -> Cadence:
    moment = instant("clocked_time", row["clocked_time"])
    if moment is None:
        raise ScheduleInvalid("clocked_time", "an instant", None)
    return once(moment)


#: How each kind of schedule is read from its table.
CADENCES: dict[str, Callable[[Mapping[str, Any]], Cadence]] = {
    "interval": _interval,
    "crontab": _crontab,
    "solar": _solar,
    "clocked": _clocked,
}
