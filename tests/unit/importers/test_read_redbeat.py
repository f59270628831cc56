"""Reading what RedBeat keeps in Redis, from a store that answers as Redis does."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from flask_metronome import cron, every, rrule
from flask_metronome.errors import SourceUnreadable
from flask_metronome.importers.imported import CannotCarry, ImportedSchedule
from flask_metronome.importers.redbeat import read_redbeat, redis_hashes

WRITTEN = Path(__file__).with_name("redbeat_2_4.json")


class Store:
    """What RedBeat 2.4 wrote, and beside it what is no schedule."""

    def __init__(self, prefix: str = "redbeat:") -> None:
        self.definitions = {
            key.replace("redbeat:", prefix): json.dumps(one)
            for key, one in json.loads(WRITTEN.read_text()).items()
        }
        self.others = {f"{prefix}:schedule": "zset", f"{prefix}:statics": "set"}
        self.asked: list[str] = []

    def scan_iter(self, match: str) -> Iterator[str]:
        self.asked.append(match)
        prefix = match.removesuffix("*").replace("\\", "")
        keys = [*self.definitions, *self.others]
        return (key for key in keys if key.startswith(prefix))

    def type(self, key: str) -> str:
        return self.others.get(key, "hash")

    def hget(self, key: str, field: str) -> str | None:
        assert field == "definition"
        assert key not in self.others, "only a hash has fields"
        return self.definitions[key] or None


def carried(store: Store, **how: Any) -> dict[str, ImportedSchedule]:
    found = read_redbeat(store, **{"tz": "UTC", **how})
    return {one.name: one for one in found if isinstance(one, ImportedSchedule)}


def reasons(store: Store, **how: Any) -> dict[str, str]:
    found = read_redbeat(store, **{"tz": "UTC", **how})
    return {one.name: one.reason for one in found if isinstance(one, CannotCarry)}


def test_a_definition_with_everything() -> None:
    assert carried(Store(), tz="Europe/Berlin")["Daily report"] == ImportedSchedule(
        name="Daily report",
        task="shop.report",
        cadence=cron("30 8 * * 1,2,3,4,5", "Europe/Berlin"),
        args=("eu",),
        kwargs={
            "copies": 2,
            # as Celery's own messages write an instant, so that the task gets one
            "since": {"__type__": "datetime", "__value__": "2026-01-01T00:00:00+01:00"},
        },
        queue="reports",
        start_deadline_seconds=600,
        options={"priority": 7},
    )


def test_intervals_and_rules() -> None:
    found = carried(Store())
    assert found["heartbeat"].cadence == every(2.5)
    assert found["fridays"].cadence == rrule(
        "FREQ=WEEKLY;INTERVAL=1;BYHOUR=17;BYMINUTE=0;BYSECOND=0;BYDAY=MO,FR"
        ";UNTIL=20990101T000000Z",
        "UTC",
        datetime(2026, 1, 2, 17, tzinfo=UTC),
    )
    once = found["once"].cadence
    assert list(once.between(datetime(2026, 1, 1, tzinfo=UTC), _at(2100))) == [
        datetime(2099, 1, 2, 8, tzinfo=UTC)
    ]


def test_a_rule_keeps_the_offset_it_was_written_in() -> None:
    fixed = carried(Store())["berlin rule"].cadence
    # RedBeat knows one hour from UTC and not Berlin: 8:00 there stays 7:00 UTC
    assert fixed.next_after(_at(2026, 7)) == datetime(2026, 7, 1, 7, tzinfo=UTC)


def test_a_named_zone_is_the_rules_where_its_offset_agrees() -> None:
    found = carried(Store(), rule_tz="Europe/Berlin")
    summer = datetime(2026, 7, 1, 6, tzinfo=UTC)
    assert found["berlin rule"].cadence.next_after(_at(2026, 7)) == summer
    # a rule that was written in UTC stays there
    assert found["fridays"].cadence == carried(Store())["fridays"].cadence


def test_a_rule_off_by_half_an_hour_needs_its_zone() -> None:
    assert "by --tz" in reasons(Store())["delhi rule"]
    found = carried(Store(), rule_tz="Asia/Kolkata")["delhi rule"].cadence
    assert found.next_after(_at(2026, 7)) == datetime(2026, 7, 1, 2, 30, tzinfo=UTC)


def test_a_disabled_definition_is_paused() -> None:
    found = carried(Store())
    assert found["off"].paused == "disabled in redbeat"
    assert found["heartbeat"].paused is None


def test_options_without_a_counterpart_are_said_to_be_lost() -> None:
    lost = carried(Store())["routed"].lost
    assert [sentence.split(":")[0] for sentence in lost] == [
        "option countdown",
        "option routing_key",
    ]


def test_what_has_no_counterpart_is_refused() -> None:
    assert reasons(Store()).keys() == {"easter", "delhi rule"}
    assert "BYEASTER" in reasons(Store())["easter"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no definition"),
        ("{", "RedBeat's JSON"),
        ("[]", "a JSON object"),
        ('{"task": "t"}', "an interval, a crontab or an rrule"),
        ('{"task": "t", "schedule": {"__type__": "interval"}}', "above zero"),
        ('{"schedule": {"__type__": "crontab", "week": 1}}', "what Celery reads"),
        (
            '{"schedule": {"__type__": "rrule", "freq": 99}}',
            "it cannot be read: IndexError",
        ),
        ('{"kwargs": {"a": {"__type__": "datetime", "year": 0}}}', "RedBeat's JSON"),
    ],
)
def test_a_broken_definition_is_a_reason(text: str, says: str) -> None:
    store = Store()
    store.definitions["redbeat:broken"] = text
    assert says in reasons(store)["broken"]


def test_another_prefix_with_signs_of_a_glob() -> None:
    store = Store(prefix="shop[1]:")
    assert "heartbeat" in carried(store, prefix="shop[1]:")
    assert store.asked == ["shop\\[1\\]:*"]


def test_without_the_extra_the_module_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    with (
        pytest.raises(ModuleNotFoundError, match="redis"),
        redis_hashes("redis://localhost"),
    ):
        pytest.fail("it was opened")


def test_a_redis_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", _silent_redis())
    with (
        pytest.raises(SourceUnreadable, match="does not answer: nobody is there"),
        redis_hashes("redis://localhost") as hashes,
    ):
        read_redbeat(hashes, tz="UTC")
    with pytest.raises(SourceUnreadable, match="expected a redis://"):  # noqa: SIM117
        with redis_hashes("http://localhost"):
            pytest.fail("it was opened")


def _silent_redis() -> ModuleType:
    """The library's client, of a server that is away."""
    redis: Any = ModuleType("redis")
    redis.RedisError = type("RedisError", (Exception,), {})

    class Redis:
        @staticmethod
        def from_url(url: str, **_options: object) -> Redis:
            if not url.startswith("redis"):
                raise ValueError(url)
            return Redis()

        def scan_iter(self, match: str) -> Iterator[str]:
            raise redis.RedisError("nobody is there")

        def close(self) -> None:
            """Nothing is open."""

    redis.Redis = Redis
    return redis  # type: ignore[no-any-return]


def _at(year: int, month: int = 1) -> datetime:
    return datetime(year, month, 1, tzinfo=UTC)
