"""Where messages go that a queue gives up, and what is written on them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

TO_DEAD = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"}
QUORUM = {"x-queue-type": "quorum"}


@pytest.fixture
def dead(declare: Any, inbox: Any) -> Any:
    declare("dead")
    return inbox("dead", no_ack=True)


def death_of(message: Any) -> dict[str, Any]:
    (death,) = message.headers["x-death"]
    at = death.pop("time").replace(tzinfo=UTC)
    assert abs(datetime.now(UTC) - at) < timedelta(minutes=1)
    return dict(death)


def test_expired_by_the_queue(declare: Any, put: Any, dead: Any) -> None:
    declare("q", {**TO_DEAD, "x-message-ttl": 5})
    put("q", "late", application_headers={"mine": 1})
    message = dead.next()
    assert message.body == "late"
    assert message.headers["mine"] == 1
    assert message.headers["x-first-death-reason"] == "expired"
    assert message.headers["x-last-death-queue"] == "q"
    assert death_of(message) == {
        "count": 1,
        "reason": "expired",
        "queue": "q",
        "exchange": "",
        "routing-keys": ["q"],
    }


def test_expired_by_its_own_expiration(declare: Any, put: Any, dead: Any) -> None:
    declare("q", TO_DEAD)
    put("q", expiration="5", correlation_id="c", priority=3)
    message = dead.next()
    assert death_of(message)["original-expiration"] == "5"
    assert "expiration" not in message.properties
    assert message.properties["correlation_id"] == "c"
    assert message.properties["priority"] == 3


def test_only_the_head_expires(
    channel: Any, declare: Any, put: Any, dead: Any, bodies: Any
) -> None:
    declare("q", TO_DEAD)
    put("q", "long", expiration="60000")
    put("q", "short", expiration="1")
    put("q", "last")
    assert dead.nothing()
    message = channel.basic_get("q")
    assert message.body == "long"
    assert dead.next().body == "short"
    assert bodies("q") == ["last"]


def test_a_ttl_of_zero_delivers_at_once_or_never(
    declare: Any, put: Any, inbox: Any, bodies: Any
) -> None:
    declare("q", {"x-message-ttl": 0})
    put("q", "nobody there")
    assert bodies("q") == []
    box = inbox("q", no_ack=True)
    put("q", "somebody there")
    assert box.next().body == "somebody there"


def test_rejected(channel: Any, declare: Any, put: Any, dead: Any) -> None:
    declare("q", {"x-dead-letter-exchange": "amq.topic"})
    channel.queue_bind("dead", "amq.topic", "q")
    put("q")
    channel.basic_reject(channel.basic_get("q").delivery_tag, requeue=False)
    message = dead.next()
    assert death_of(message)["reason"] == "rejected"
    assert message.delivery_info["exchange"] == "amq.topic"
    assert message.delivery_info["routing_key"] == "q"


def test_pushed_out(declare: Any, put: Any, dead: Any) -> None:
    declare("q", {**TO_DEAD, "x-max-length": 1})
    put("q", "old")
    put("q", "new")
    message = dead.next()
    assert (message.body, death_of(message)["reason"]) == ("old", "maxlen")


def test_returned_too_often(channel: Any, declare: Any, put: Any, dead: Any) -> None:
    declare("q", {**TO_DEAD, **QUORUM, "x-delivery-limit": 2})
    put("q")
    seen = []
    for _ in range(3):
        message = channel.basic_get("q")
        seen.append((message.headers or {}).get("x-delivery-count"))
        channel.basic_reject(message.delivery_tag, requeue=True)
    assert seen == [None, 1, 2]
    assert death_of(dead.next())["reason"] == "delivery_limit"
    assert channel.basic_get("q") is None


@pytest.mark.parametrize(("limit", "given_up"), [(-1, False), (None, True)])
def test_the_default_delivery_limit_is_20(
    channel: Any, declare: Any, put: Any, limit: int | None, given_up: bool
) -> None:
    declare("q", QUORUM if limit is None else {**QUORUM, "x-delivery-limit": limit})
    put("q")
    for _ in range(21):
        channel.basic_reject(channel.basic_get("q").delivery_tag, requeue=True)
    assert (channel.basic_get("q") is None) is given_up


def test_repeated_deaths_are_counted(
    channel: Any, declare: Any, put: Any, inbox: Any
) -> None:
    declare(
        "wait",
        {
            "x-dead-letter-exchange": "",
            "x-message-ttl": 2,
            "x-dead-letter-routing-key": "work",
        },
    )
    declare("work", {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "wait"})
    box = inbox("work")
    put("wait")
    for _ in range(2):
        channel.basic_reject(box.next().delivery_tag, requeue=False)
    deaths = box.next().headers["x-death"]
    told = [(each["queue"], each["reason"], each["count"]) for each in deaths]
    assert told == [("wait", "expired", 3), ("work", "rejected", 2)]


def test_a_cycle_that_no_client_takes_part_in_ends(
    declare: Any, put: Any, dead: Any, bodies: Any
) -> None:
    declare(
        "a",
        {
            "x-dead-letter-exchange": "",
            "x-message-ttl": 1,
            "x-dead-letter-routing-key": "b",
        },
    )
    declare(
        "b",
        {
            "x-dead-letter-exchange": "",
            "x-message-ttl": 1,
            "x-dead-letter-routing-key": "a",
        },
    )
    declare("bell", {**TO_DEAD, "x-message-ttl": 20})
    put("a")
    put("bell")
    dead.next()
    assert bodies("a") == bodies("b") == []


def test_a_long_chain_of_full_queues_is_no_deep_stack(
    declare: Any, put: Any, bodies: Any
) -> None:
    length = 200
    for n in range(length):
        declare(
            f"q{n}",
            {
                "x-max-length": 0,
                "x-dead-letter-exchange": "",
                "x-dead-letter-routing-key": f"q{n + 1}",
            },
        )
    declare(f"q{length}")
    put("q0", "through")
    assert bodies(f"q{length}") == ["through"]


@pytest.mark.parametrize(
    ("strategy", "kept"), [("at-most-once", []), ("at-least-once", ["x"])]
)
def test_a_full_target_keeps_at_least_once_letters(
    channel: Any, declare: Any, put: Any, bodies: Any, strategy: str, kept: list[str]
) -> None:
    declare("dead", {"x-max-length": 0, "x-overflow": "reject-publish"})
    declare(
        "q",
        {
            **TO_DEAD,
            **QUORUM,
            "x-dead-letter-strategy": strategy,
            "x-overflow": "reject-publish",
        },
    )
    put("q")
    channel.basic_reject(channel.basic_get("q").delivery_tag, requeue=False)
    assert bodies("dead") == kept
