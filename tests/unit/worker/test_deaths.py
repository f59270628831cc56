"""A dead letter ends the run that waited for it, and no other."""

from __future__ import annotations

import json
from typing import Any

import pytest
from amqp import Message
from celery import signals
from kombu.exceptions import ContentDisallowed
from worker_app_in_process import App
from worker_store import Store

from flask_metronome.consumer import complaint
from flask_metronome.core.death import DeadReason, run_state_after_death
from flask_metronome.core.run import FINAL, AttemptState, RunState
from flask_metronome.dead_letters import close_letter, reason_of
from flask_metronome.store.dead import Death, close_dead
from metronome_broker import DeadLetter, Topology, lanes_named
from metronome_broker.dead_letter import read_dead_letter

TOPOLOGY = Topology(lanes=lanes_named(["default"]))


def after(state: str, reason: str = "rejected", **more: Any) -> str | None:
    given: dict[str, Any] = {"retries": 0, "run_retries": 0, "attempt": None, **more}
    return run_state_after_death(RunState(state), reason=DeadReason(reason), **given)


@pytest.mark.parametrize(
    ("state", "reason", "expected"),
    [
        ("published", "rejected", "failed"),
        ("received", "delivery_limit", "failed"),
        ("published", "expired", "expired"),
        ("received", "undecodable", "failed"),
        # an outbox will publish it, or another run must end first
        ("planned", "rejected", None),
        ("planned", "expired", "expired"),
        ("waiting", "expired", None),
    ],
)
def test_a_run_that_no_worker_began(
    state: str, reason: str, expected: str | None
) -> None:
    assert after(state, reason) == expected


@pytest.mark.parametrize(
    ("attempt", "expected"),
    [("running", None), ("lost", "failed"), ("succeeded", None), (None, None)],
)
def test_a_run_that_was_started(attempt: str | None, expected: str | None) -> None:
    """Whoever runs it reports; only the message of a lost attempt was needed."""
    state = None if attempt is None else AttemptState(attempt)
    assert after("started", "delivery_limit", attempt=state) == expected
    assert after("started", "expired", attempt=state) == expected


def test_the_message_of_an_earlier_try_ends_nothing() -> None:
    assert after("retrying", retries=1, run_retries=2) is None
    assert after("retrying", retries=2, run_retries=2) == "failed"
    lost = AttemptState.LOST
    assert after("started", retries=0, run_retries=1, attempt=lost) is None


@pytest.mark.parametrize("state", sorted(FINAL))
def test_what_is_over_stays_as_it_is(store: Store, state: str) -> None:
    store.add_run("r", state=state, reason="because")
    assert close(store, "expired") is False
    assert (store.run("r").state, store.run("r").reason) == (state, "because")


def close(store: Store, reason: str, run_id: str = "r") -> bool:
    death = Death(run_id=run_id, retries=0, reason=DeadReason(reason))
    with store.database.begin() as c:
        return close_dead(c, death, now=store.clock.moment)


def test_closing_says_why_and_frees_the_key(store: Store) -> None:
    store.add_run("r", state="received", live_key="k")
    assert close(store, "delivery_limit") is True
    run = store.run("r")
    assert (run.state, run.reason, run.error_type) == (
        "failed",
        "delivery_limit",
        "DeadLetter",
    )
    assert (run.live_key, run.finished_at) == (None, store.clock.moment)
    assert run.missed is False
    assert close(store, "delivery_limit") is False
    assert close(store, "rejected", "no such run") is False


def test_a_run_that_was_missed_before_keeps_why(store: Store) -> None:
    store.add_run("r", state="published", missed=True, reason="scheduler_down")
    assert close(store, "expired") is True
    assert (store.run("r").state, store.run("r").reason) == (
        "expired",
        "scheduler_down",
    )


def letter(body: Any = "[[], {}, {}]", **headers: Any) -> DeadLetter:
    message = Message(
        body,
        content_type="application/json",
        content_encoding="utf-8",
        application_headers={"id": "t", "task": "shop.report", **headers},
    )
    return read_dead_letter(message, TOPOLOGY, number=1)


def death(reason: str, queue: str = "metronome.default") -> dict[str, Any]:
    return {"reason": reason, "queue": queue, "count": 1}


def test_the_reason_is_that_of_the_latest_death_in_a_lane() -> None:
    delay = death("expired", "celery_delayed_2")
    read = letter(**{"x-death": [death("rejected"), delay]})
    assert (read.reason, read.lane) == ("rejected", "default")
    read = letter(**{"x-death": [delay, death("delivery_limit")]})
    assert (read.reason, read.lane) == ("delivery_limit", "default")
    assert letter(**{"x-death": "rubbish"}).reason == "unknown"


def test_rejected_is_undecodable_when_nobody_can_read_it() -> None:
    dead = {"x-death": [death("rejected")]}
    assert reason_of(letter(**dead), ["json"]) == "rejected"
    assert reason_of(letter("{", **dead), ["json"]) == "undecodable"
    assert reason_of(letter("{", **{"x-death": [death("expired")]}), ["json"]) == (
        "expired"
    )
    assert reason_of(letter(**{"x-death": [death("new word")]}), ["json"]) == "unknown"


def test_a_header_that_names_another_task_is_no_run() -> None:
    """A child carries its parent's headers; it does not end the parent."""
    assert letter(metronome_run="other").run_id is None
    assert letter(metronome_run="t").run_id == "t"


@pytest.mark.parametrize(
    ("reason", "state"),
    [("expired", "REVOKED"), ("delivery_limit", "FAILURE"), ("rejected", "FAILURE")],
)
def test_a_plain_task_ends_too(shop: App, reason: str, state: str) -> None:
    shop.backend.store_result("t", None, "STARTED")
    dead = letter(**{"x-death": [death(reason)]})
    assert close_letter(shop.state, dead) is True
    assert shop.celery.AsyncResult("t").state == state
    assert close_letter(shop.state, dead) is False


def test_a_plain_task_that_ended_keeps_its_result(shop: App) -> None:
    shop.backend.store_result("t", 1, "SUCCESS")
    assert close_letter(shop.state, letter(**{"x-death": [death("expired")]})) is False
    assert shop.celery.AsyncResult("t").get() == 1


def test_nothing_is_stored_for_an_ignored_result(shop: App) -> None:
    dead = letter(ignore_result=True, **{"x-death": [death("expired")]})
    assert close_letter(shop.state, dead) is False
    assert shop.celery.AsyncResult("t").state == "PENDING"


class Consuming:
    """A worker's consumer, as far as a signal's receiver looks at it."""

    def __init__(self, app: Any) -> None:
        self.app = app


class Delivered:
    """A message as Celery's consumer gets it."""

    def __init__(self, body: str, **headers: Any) -> None:
        self.headers = headers
        self._body = body

    @property
    def payload(self) -> Any:
        return json.loads(self._body)


def test_what_is_said_of_a_refused_message_can_be_stored(shop: App) -> None:
    """It tells of a foreign message: PostgreSQL refuses NUL, people need no secrets."""
    shop.store.add_run("r")
    error = ContentDisallowed("Refusing x\0y with token=hush " + "z" * 100_000)
    signals.task_rejected.send(
        sender=Consuming(shop.celery),
        message=Delivered("", metronome_run="r"),
        exc=error,
    )
    run = shop.store.run("r")
    assert (run.state, run.reason) == ("failed", "undecodable")
    assert run.error.startswith("Refused: Refusing x\ufffdy with token=[redacted] zzz")
    assert len(run.error) < 2_100


@pytest.mark.parametrize("body", ["5", "null", "[1, 2, 3]", "[[], {}]", '{"a": 1}'])
def test_a_body_that_would_end_celerys_worker(body: str) -> None:
    assert complaint(Delivered(body, task="t")) is not None


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        ('[[], {}, {"chain": null}]', {"task": "t"}),
        ("[[], {}, null]", {"task": "t"}),
        ('{"args": [], "kwargs": {}}', {"task": "t"}),
        ("{not json", {"task": "t"}),
        ("5", {}),
    ],
)
def test_the_rest_is_celerys(body: str, headers: dict[str, Any]) -> None:
    assert complaint(Delivered(body, **headers)) is None
