"""The schedules of sqlalchemy-celery-beat (0.9), from its tables."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from flask_metronome.errors import ScheduleInvalid
from flask_metronome.importers.django_celery_beat import CADENCES, Rows
from flask_metronome.importers.imported import Found, found_or_reason
from flask_metronome.importers.peer_tables import PeerTables
from flask_metronome.importers.periodic_task import imported_from_row

PEER = "sqlalchemy-celery-beat"


def read_sqlalchemy_celery_beat(tables: PeerTables) -> list[Found]:
    """Every periodic task, with the schedule that it points to.

    Its tables of schedules have the columns of django-celery-beat's.

    :raises SourceUnreadable: the tables are not there.
    """
    tasks = tables.rows("celery_periodictask")
    kinds = {
        f"{kind}schedule": tables.by_id(f"celery_{kind}schedule") for kind in CADENCES
    }
    return [
        found_or_reason(str(task["name"]), partial(_imported, task, kinds))
        for task in tasks
    ]


def _imported(task: Mapping[str, Any], kinds: Mapping[str, Rows]) -> Found:
    kind = str(task.get("discriminator"))
    if kind not in kinds:
        raise ScheduleInvalid("discriminator", "one of " + ", ".join(kinds), kind)
    schedule = kinds[kind].get(task["schedule_id"])
    if schedule is None:
        raise ScheduleInvalid(kind, "a schedule that is there", task["schedule_id"])
    cadence = CADENCES[kind.removesuffix("schedule")](schedule)
    return imported_from_row(task, cadence, peer=PEER)
