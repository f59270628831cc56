"""``flask metronome import …`` as a person runs it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from click.testing import Result

Run = Callable[..., Result]


def rows_of(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    return {row["name"]: row for row in json.loads(result.stdout)["schedules"]}


def keys_there(run: Run) -> list[str]:
    found = json.loads(run("schedules", "list", "--json").stdout)["items"]
    return [item["key"] for item in found]


def sentence(result: Result, code: int) -> str:
    assert result.exit_code == code, result.output
    (line,) = result.stderr.strip().splitlines()
    return line


def test_a_dry_run_prints_a_table_and_what_cannot_be_carried(
    run: Run, django_url: str
) -> None:
    result = run("import", "django-celery-beat", "--url", django_url, "--dry-run")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    headers = ["NAME", "RESULT", "KEY", "STATE", "WHEN", "LANE", "TASK"]
    assert lines[0].split() == headers
    (report,) = [line for line in lines if line.startswith("Daily report ")]
    assert report.split("  ")[0] == "Daily report"
    assert " new " in report
    assert "Europe/Berlin" in report
    assert "switched off: " not in result.stdout
    (off,) = [line for line in lines if line.startswith("switched off ")]
    assert " paused " in off
    assert "bad json: args: expected a JSON list, got 'not json'." in lines
    assert "own route: without exchange 'ex': its lane routes it" in lines
    assert "expired: it is never due again" in lines
    assert lines[-1] == (
        "django-celery-beat: 10 new, 3 over, 5 cannot; a dry run, nothing was written"
    )
    assert keys_there(run) == []


def test_importing_twice_and_with_more_said(run: Run, django_url: str) -> None:
    words = ("import", "django-celery-beat", "--url", django_url, "--json")
    first = rows_of(run(*words))
    there = keys_there(run)
    assert first["other queue"]["verdict"] == "cannot"
    assert len(there) == 10
    mapped = rows_of(run(*words, "--lane-map", "slow=mail"))
    assert mapped["other queue"]["verdict"] == "new"
    assert mapped["other queue"]["lane"] == "mail"
    assert mapped["Daily report"]["verdict"] == "same"
    again = rows_of(run(*words, "--lane-map", "slow=mail"))
    assert {row["verdict"] for row in again.values()} == {"same", "over", "cannot"}


def test_strict_ends_with_one_when_something_is_left_behind(
    run: Run, sqlalchemy_url: str
) -> None:
    words = ("import", "sqlalchemy-celery-beat", "--url", sqlalchemy_url)
    assert run(*words).exit_code == 0
    result = run(*words, "--strict")
    assert result.exit_code == 1
    assert "unknown task: task: expected" in result.stdout
    assert result.stderr == ""


def test_strict_ends_with_zero_when_all_is_carried(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: Any = ModuleType("shop_beat_settings")
    settings.beat_schedule = {"one": {"task": "shop.report", "schedule": 60}}
    settings.timezone = "Asia/Tokyo"
    monkeypatch.setitem(sys.modules, "shop_beat_settings", settings)
    words = ("import", "celery", "--app", "shop_beat_settings", "--strict")
    assert run(*words).exit_code == 0
    assert keys_there(run) == ["one"]


def test_the_apps_own_beat_schedule_belongs_to_sync(run: Run, app: Any) -> None:
    celery = app.extensions["metronome"].celery
    celery.conf.beat_schedule = {"one": {"task": "shop.report", "schedule": 60}}
    assert run("sync").exit_code == 0
    rows = rows_of(run("import", "celery", "--json"))
    assert rows["one"]["verdict"] == "conflict"
    assert "belongs to beat_schedule" in rows["one"]["reason"]


def test_redbeat_through_the_clients_library(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    definition = {
        "name": "one",
        "task": "shop.report",
        "schedule": {"__type__": "crontab", "minute": 30, "hour": 8},
    }
    redis: Any = ModuleType("redis")
    redis.RedisError = type("RedisError", (Exception,), {})
    redis.asked = []

    class Redis:
        """The calls of the library's client that are made."""

        @classmethod
        def from_url(cls, url: str, **options: Any) -> Redis:
            redis.asked.append((url, options["decode_responses"]))
            return cls()

        def scan_iter(self, match: str) -> list[str]:
            return [match.replace("*", "one")]

        def type(self, key: str) -> str:
            return "hash"

        def hget(self, key: str, field: str) -> str:
            return json.dumps(definition)

        def close(self) -> None:
            redis.asked.append("closed")

    redis.Redis = Redis
    monkeypatch.setitem(sys.modules, "redis", redis)
    words = ("import", "redbeat", "--url", "redis://localhost/1", "--json")
    rows = rows_of(run(*words, "--tz", "Asia/Tokyo"))
    assert rows["one"]["when"] == "every day at 08:30 (Asia/Tokyo)"
    assert redis.asked == [("redis://localhost/1", True), "closed"]


def test_redbeat_without_its_extra(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    result = run("import", "redbeat", "--url", "redis://localhost")
    assert "pip install 'Flask-Metronome[redbeat]'" in sentence(result, 1)


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("django-celery-beat", "--url", "nonsense"), 1, "--url: expected"),
        (("django-celery-beat", "--url", "sqlite:///not/there"), 1, "is not there"),
        (
            ("django-celery-beat", "--url", "postgresql://u:pw@127.0.0.1:1/x"),
            1,
            "does not answer",
        ),
        (("celery", "--app", "no_such_module_here"), 1, "No module named"),
        (("celery", "--tz", "Mars/Base"), 2, "time zone"),
        (("celery", "--lane", "nowhere"), 2, "lane: expected one of"),
        (("celery", "--lane-map", "nonsense"), 2, "expected queue=lane"),
        (("django-celery-beat",), 2, "--url"),
    ],
)
def test_bad_input_is_one_sentence(
    run: Run, words: tuple[str, ...], code: int, says: str
) -> None:
    said = sentence(run("import", *words), code)
    assert says in said
    assert "pw" not in said
