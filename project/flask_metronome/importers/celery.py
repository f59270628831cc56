"""The ``beat_schedule`` of a Celery app or of a module with its settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import Any

from celery import Celery
from celery.schedules import crontab

from flask_metronome.celery_cadence import cadence_from_celery
from flask_metronome.core.cadence import Cadence
from flask_metronome.core.wall_clock import zone_name
from flask_metronome.errors import InputInvalid, ScheduleInvalid, SourceUnreadable
from flask_metronome.importers.apply_options import parts_of
from flask_metronome.importers.imported import Found, ImportedSchedule, found_or_reason
from flask_metronome.importers.written import sayable

PEER = "celery"
_SCHEDULES = ("beat_schedule", "CELERY_BEAT_SCHEDULE", "CELERYBEAT_SCHEDULE")
_ZONES = ("timezone", "CELERY_TIMEZONE", "TIMEZONE")


@dataclass(frozen=True, kw_only=True, slots=True)
class BeatSchedule:
    """Celery's schedules by name, and the zone of their crontabs."""

    schedules: Mapping[str, Any]
    tz: str


def beat_schedule_of(app: Any) -> BeatSchedule:
    """That of a Celery app, with what its modules add to it.

    :raises SourceUnreadable: one of its modules cannot be imported.
    """
    try:
        app.loader.import_default_modules()
        app.finalize()
        return BeatSchedule(
            schedules=app.conf.beat_schedule or {}, tz=zone_name(app.timezone)
        )
    except InputInvalid:
        raise
    except Exception as error:
        raise SourceUnreadable(_cannot(f"the Celery app {app.main}", error)) from error


def beat_schedule_named(target: str) -> BeatSchedule:
    """That of ``module`` or ``module:attribute``.

    :param target: where a Celery app is, or a module, class or mapping with its
        settings, or the mapping of schedules itself.
    :raises SourceUnreadable: there is none of these.
    """
    found = _loaded(target)
    if isinstance(found, ModuleType):
        found = _app_in(found) or found
    if isinstance(found, Celery):
        return beat_schedule_of(found)
    schedules = _setting(found, _SCHEDULES)
    if schedules is None and isinstance(found, Mapping):
        schedules = found
    if not isinstance(schedules, Mapping):
        raise SourceUnreadable(
            f"--app {target}: expected a Celery app, or a module or mapping with "
            "beat_schedule."
        )
    # without a zone Celery takes UTC
    return BeatSchedule(
        schedules=schedules, tz=zone_name(_setting(found, _ZONES) or "UTC")
    )


def read_celery(source: BeatSchedule, *, tz: str | None = None) -> list[Found]:
    """Every schedule of a ``beat_schedule``.

    :param tz: the zone of crontabs, instead of the app's.
    """
    return [
        found_or_reason(
            str(name), partial(_imported, str(name), given, tz or source.tz)
        )
        for name, given in source.schedules.items()
    ]


def _imported(name: str, given: Any, tz: str) -> ImportedSchedule:
    if not isinstance(given, Mapping):
        raise ScheduleInvalid(name, "a mapping with task and schedule", given)
    for required in ("task", "schedule"):
        if given.get(required) is None:
            raise ScheduleInvalid(required, "a value", None)
    task, schedule = given["task"], given["schedule"]
    parts = parts_of(given.get("options") or {})
    if getattr(schedule, "nowfun", None) is not None and _own_zone(schedule) is None:
        lost = "nowfun: a schedule goes by the database's clock"
        parts["lost"] = (*parts["lost"], lost)
    return ImportedSchedule(
        name=name,
        task=str(getattr(task, "name", task)),
        cadence=_cadence(schedule, tz),
        args=tuple(sayable("args", given.get("args") or ())),
        kwargs=sayable("kwargs", given.get("kwargs") or {}),
        **parts,
    )


def _cadence(schedule: Any, tz: str) -> Cadence:
    own = _own_zone(schedule)
    return cadence_from_celery(schedule, tz=tz if own is None else zone_name(own))


def _own_zone(schedule: Any) -> Any:
    """The zone that a kind of crontab of its own carries.

    Celery's own has one, too, as soon as it was asked: that of whatever app is
    current then.
    """
    if isinstance(schedule, crontab) and type(schedule) is not crontab:
        return vars(schedule).get("tz")
    return None


def _loaded(target: str) -> Any:
    module, _, attributes = target.partition(":")
    try:
        found: Any = import_module(module)
        for attribute in filter(None, attributes.split(".")):
            found = getattr(found, attribute)
    except Exception as error:
        raise SourceUnreadable(_cannot(f"--app {target}", error)) from error
    return found


def _cannot(what: str, error: Exception) -> str:
    said = str(error).strip().partition("\n")[0]
    return f"{what}: cannot be imported: {said or type(error).__name__}"


def _app_in(module: ModuleType) -> Celery | None:
    named = [getattr(module, name, None) for name in ("celery", "app")]
    return next(
        (found for found in (*named, *vars(module).values()) if _is_app(found)), None
    )


def _is_app(found: Any) -> bool:
    # a module may hold proxies that raise when they are looked at
    try:
        return isinstance(found, Celery)
    except Exception:
        return False


def _setting(found: Any, names: tuple[str, ...]) -> Any:
    if isinstance(found, Mapping):
        return next((found[name] for name in names if name in found), None)
    return next((getattr(found, name) for name in names if hasattr(found, name)), None)
