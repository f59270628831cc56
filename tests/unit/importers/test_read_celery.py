"""Reading the beat_schedule of Celery apps and of modules with their settings."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from celery import Celery
from celery._state import get_current_app
from celery.schedules import crontab, solar

from flask_metronome import cron, every
from flask_metronome import solar as our_solar
from flask_metronome.errors import SourceUnreadable
from flask_metronome.importers.celery import (
    BeatSchedule,
    beat_schedule_named,
    beat_schedule_of,
    read_celery,
)
from flask_metronome.importers.imported import CannotCarry, Found, ImportedSchedule

MINUTE = {"task": "shop.report", "schedule": 60.0}


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module that can be imported by its name."""
    module = ModuleType("shop_settings")
    monkeypatch.setitem(sys.modules, "shop_settings", module)
    return module


def celery_app(**conf: Any) -> Celery:
    app = Celery("shop", set_as_current=False, broker="memory://")
    app.conf.update(**conf)
    return app


def only(given: Mapping[str, Any], tz: str = "UTC") -> Found:
    (found,) = read_celery(BeatSchedule(schedules={"one": given}, tz=tz))
    return found


def imported(given: Mapping[str, Any], tz: str = "UTC") -> ImportedSchedule:
    found = only(given, tz)
    assert isinstance(found, ImportedSchedule), found
    return found


def test_a_schedule_with_everything() -> None:
    given = {
        "task": "shop.report",
        "schedule": crontab(minute=30, hour=8),
        "args": ("eu", 1),
        "kwargs": {"since": datetime(2026, 1, 1, tzinfo=UTC)},
        "options": {
            "queue": "reports",
            "expires": timedelta(minutes=10),
            "priority": 7,
            "headers": {"tenant": "eu"},
            "time_limit": 60,
            "soft_time_limit": 50,
        },
    }
    assert imported(given, "Europe/Berlin") == ImportedSchedule(
        name="one",
        task="shop.report",
        cadence=cron("30 8 * * *", "Europe/Berlin"),
        args=("eu", 1),
        kwargs={
            "since": {"__type__": "datetime", "__value__": "2026-01-01T00:00:00+00:00"}
        },
        queue="reports",
        start_deadline_seconds=600,
        options={
            "priority": 7,
            "headers": {"tenant": "eu"},
            "time_limit": 60,
            "soft_time_limit": 50,
        },
    )


@pytest.mark.parametrize(
    ("schedule", "cadence"),
    [
        (60.0, every(60)),
        (timedelta(hours=1), every(1, "hours")),
        (solar("sunset", 52.5, 13.4), our_solar("sunset", 52.5, 13.4)),
    ],
)
def test_each_kind_of_schedule(schedule: object, cadence: object) -> None:
    assert imported({"task": "t", "schedule": schedule}).cadence == cadence


def test_a_crontab_with_a_zone_of_its_own_keeps_it() -> None:
    class Zoned(crontab):  # type: ignore[misc]
        """As the databases' beats have it."""

        def __init__(self, tz: ZoneInfo, **fields: Any) -> None:
            self.tz = tz
            super().__init__(nowfun=lambda: datetime.now(tz), **fields)

    given = {"task": "t", "schedule": Zoned(ZoneInfo("Asia/Tokyo"), hour=8, minute=0)}
    assert imported(given).cadence == cron("0 8 * * *", "Asia/Tokyo")
    assert imported(given).lost == ()


def test_what_is_left_behind_is_said() -> None:
    schedule = crontab(hour=8, minute=0, nowfun=lambda: datetime.now(UTC))
    options = {"countdown": 5, "link": None, "exchange": "ex"}
    lost = imported({"task": "t", "schedule": schedule, "options": options}).lost
    assert [sentence.split(":")[0] for sentence in lost] == [
        "option countdown",
        "option exchange",
        "nowfun",
    ]


def test_an_instant_of_expiry_ends_the_schedule() -> None:
    options = {"expires": datetime(2099, 1, 1, tzinfo=UTC)}
    found = imported({**MINUTE, "options": options})
    assert found.end_at == datetime(2099, 1, 1, tzinfo=UTC)
    assert found.start_deadline_seconds is None


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("every minute", "a mapping with task and schedule"),
        ({"schedule": 60}, "task: expected a value"),
        ({"task": "t"}, "schedule: expected a value"),
        ({"task": "t", "schedule": "0 8 * * *"}, "a schedule of Celery"),
        ({**MINUTE, "args": (object(),)}, "args: expected what JSON can say"),
        ({**MINUTE, "options": {"expires": [1]}}, "expires: expected a number"),
    ],
)
def test_what_cannot_be_carried_names_the_field(given: Any, says: str) -> None:
    found = only(given)
    assert isinstance(found, CannotCarry)
    assert says in found.reason


def test_a_celery_app_says_its_zone_and_what_its_handlers_add() -> None:
    app = celery_app(timezone="Europe/Berlin", beat_schedule={"one": MINUTE})

    @app.on_after_finalize.connect
    def add_more(sender: Celery, **_: object) -> None:
        sender.conf.beat_schedule["two"] = MINUTE

    source = beat_schedule_of(app)
    assert source.tz == "Europe/Berlin"
    assert [one.name for one in read_celery(source)] == ["one", "two"]
    # a handler that does not last would be forgotten by its weak reference
    assert add_more


@pytest.mark.parametrize(
    "target", ["shop_settings", "shop_settings:make.app", "shop_settings:make"]
)
def test_an_app_is_found_by_name(settings: Any, target: str) -> None:
    app = celery_app(beat_schedule={"one": MINUTE})
    settings.make = type("Made", (), {"app": app}) if "." in target else app
    assert list(beat_schedule_named(target).schedules) == ["one"]


@pytest.mark.parametrize(
    "name", ["beat_schedule", "CELERY_BEAT_SCHEDULE", "CELERYBEAT_SCHEDULE"]
)
def test_a_module_with_settings(settings: Any, name: str) -> None:
    setattr(settings, name, {"one": MINUTE})
    assert beat_schedule_named("shop_settings").tz == "UTC"
    settings.CELERY_TIMEZONE = "Asia/Tokyo"
    source = beat_schedule_named("shop_settings")
    assert (source.tz, list(source.schedules)) == ("Asia/Tokyo", ["one"])


def test_a_mapping_with_settings_and_the_mapping_itself(settings: Any) -> None:
    settings.CELERY = {"beat_schedule": {"one": MINUTE}, "timezone": "Asia/Tokyo"}
    settings.PLAIN = {"two": MINUTE}
    source = beat_schedule_named("shop_settings:CELERY")
    assert (source.tz, list(source.schedules)) == ("Asia/Tokyo", ["one"])
    assert list(beat_schedule_named("shop_settings:PLAIN").schedules) == ["two"]


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("no_such_module_here", "cannot be imported: No module named"),
        ("shop_settings:missing", "has no attribute"),
        ("shop_settings", "expected a Celery app"),
        ("shop_settings:NUMBER", "expected a Celery app"),
        (":x", "cannot be imported"),
    ],
)
def test_a_name_that_leads_nowhere(settings: Any, target: str, says: str) -> None:
    settings.NUMBER = 5
    with pytest.raises(SourceUnreadable, match=says):
        beat_schedule_named(target)


def test_looking_into_another_app_does_not_make_it_the_current_one() -> None:
    before = get_current_app()
    read_celery(beat_schedule_of(celery_app(beat_schedule={"one": MINUTE})))
    assert get_current_app() is before
