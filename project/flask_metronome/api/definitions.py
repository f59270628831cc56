"""Between a schedule's row and the definition that a person gave."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from flask_metronome.core.cadence import cadence_from_dict
from flask_metronome.core.schedule import Definition
from flask_metronome.errors import CadenceInvalid
from flask_metronome.history.values import ScheduleView

NAMES = tuple(field.name for field in fields(Definition))


def definition_values(schedule: ScheduleView) -> dict[str, Any]:
    """What a person said about this schedule, as ``Definition.from_dict`` reads it."""
    return {name: getattr(schedule, name) for name in NAMES}


def definition_of(schedule: ScheduleView) -> Definition:
    """The definition in a row.

    :raises ScheduleInvalid: when the row was edited into something else.
    :raises CadenceInvalid: likewise.
    """
    return Definition.from_dict(definition_values(schedule))


def runs_left(schedule: ScheduleView, most: int) -> int:
    """How many due times to come will make a run, at most ``most``."""
    if schedule.state != "active":
        return 0
    if schedule.max_runs is None:
        return most
    return max(0, min(most, schedule.max_runs - schedule.runs_made))


def cadence_words(cadence: Mapping[str, Any]) -> str:
    """A cadence in words, also one that cannot be understood."""
    try:
        return cadence_from_dict(cadence).words()
    except CadenceInvalid as error:
        return f"not understood: {error}"
