"""A task says which of its arguments nobody may see."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from celery import Task
from worker_app_in_process import App

from flask_metronome.api.schemas import RunSchema
from flask_metronome.core.run import AttemptState
from flask_metronome.redaction import ARGUMENT_LIMIT, MASK, MESSAGE_LIMIT
from flask_metronome.shown import ShowingLog, patterns_of, shown_arguments


@pytest.fixture
def pay(shop: App) -> Any:
    @shop.metronome.task(name="shop.pay", bind=True, redact=("iban",))
    def pay(self: Any, who: str, iban: str, note: str = "") -> str:
        raise ValueError(f"refused iban={iban} of {who}, password=hush")

    return shop.celery.tasks["shop.pay"]


def test_its_own_patterns_and_those_of_all(shop: App, pay: Any) -> None:
    patterns = patterns_of(shop.celery, "shop.pay")
    assert {"iban", "password"} <= set(patterns)
    assert "iban" not in patterns_of(shop.celery, "unheard of")


@pytest.mark.parametrize("redact", ["iban", ("iban",), ["iban"]])
def test_one_word_is_one_pattern(shop: App, redact: Any) -> None:
    @shop.metronome.task(name="shop.other", redact=redact)
    def other() -> None: ...

    assert shop.celery.tasks["shop.other"].name == "shop.other"
    assert patterns_of(shop.celery, "shop.other")[-1] == "iban"
    assert "i" not in patterns_of(shop.celery, "shop.other")


def test_also_where_an_argument_has_no_key(shop: App, pay: Any) -> None:
    args, kwargs = shown_arguments(
        shop.celery, "shop.pay", ("me", "DE12"), {"note": "x", "IBAN": "DE12"}
    )
    assert (args, kwargs) == (("me", MASK), {"note": "x", "IBAN": MASK})


@pytest.mark.parametrize("args", [None, (), "text", 5])
def test_arguments_of_any_kind(shop: App, args: Any) -> None:
    assert shown_arguments(shop.celery, "nobody", args, None)[1] is None


def test_more_arguments_than_the_task_takes(shop: App, pay: Any) -> None:
    args, _ = shown_arguments(shop.celery, "shop.pay", list("abcdefgh"), {})
    assert args == ["a", MASK, *"cdefgh"]


def test_what_is_stored_of_a_failure(shop: App, pay: Any) -> None:
    shop.store.add_run("r")
    shop.trace(pay, "me", "DE12", run_id="r")
    [attempt] = shop.store.attempts("r")
    assert attempt.state == AttemptState.FAILED
    for text in (attempt.error, attempt.traceback, shop.store.run("r").error):
        assert "DE12" not in text
        assert "hush" not in text
    result = shop.celery.AsyncResult("r")
    assert "DE12" not in f"{result.result}{result.traceback}{result.args}"
    assert result.args == ["me", MASK]


def test_a_message_describes_its_arguments_without_secrets(shop: App, pay: Any) -> None:
    """The description is what logs, events and so Flower show."""
    message = shop.celery.amqp.as_task_v2(
        "id", "shop.pay", ("me", "DE12"), {"password": "hush", "n": 1}
    )
    assert message.headers["argsrepr"] == repr(("me", MASK))
    assert message.headers["kwargsrepr"] == repr({"password": MASK, "n": 1})
    assert message.body[:2] == (("me", "DE12"), {"password": "hush", "n": 1})


def test_so_does_the_event_that_it_was_sent(shop: App, pay: Any) -> None:
    given = ("id", "shop.pay", ("me", "DE12"), {"token": "hush"})
    # as Celery itself calls it: by position
    rest = (None, None, None, None, None, 0, None, None, None, None, None, None, True)
    event = shop.celery.amqp.create_task_message(*given, *rest).sent_event
    assert (event["args"], event["kwargs"]) == (
        repr(("me", MASK)),
        repr({"token": MASK}),
    )


def test_a_description_that_is_given_stays(shop: App) -> None:
    message = shop.celery.amqp.as_task_v2("id", "t", (1,), {}, argsrepr="<one>")
    assert message.headers["argsrepr"] == "<one>"


@pytest.mark.parametrize(("args", "kwargs"), [("text", {}), ((), ["list"])])
def test_celery_still_says_what_arguments_must_be(
    shop: App, args: Any, kwargs: Any
) -> None:
    with pytest.raises(TypeError, match="must be a"):
        shop.celery.amqp.as_task_v2("id", "t", args, kwargs)


def test_a_foreign_task_class_may_say_it_too(shop: App) -> None:
    class Foreign(Task):  # type: ignore[misc]
        name = "foreign"
        redact = ("iban",)

        def run(self, iban: str) -> None: ...

    shop.celery.register_task(Foreign())
    assert shown_arguments(shop.celery, "foreign", ["DE12"], {})[0] == [MASK]


def test_the_api_shows_a_run_without_secrets(shop: App, pay: Any) -> None:
    run = {"task": "shop.pay", "args": ["me", "DE12"], "kwargs": {"token": "hush"}}
    with shop.flask.app_context():
        shown = RunSchema().dump(run)
    assert shown == {**run, "args": ["me", MASK], "kwargs": {"token": MASK}}


def test_a_worker_logs_no_secrets(
    shop: App, pay: Any, caplog: pytest.LogCaptureFixture
) -> None:
    logger = logging.getLogger("celery.app.trace")
    hidden = ShowingLog(shop.celery)
    shop.store.add_run("r")
    logger.addFilter(hidden)
    try:
        with caplog.at_level(logging.DEBUG, logger.name):
            shop.trace(pay, "me", "DE12", run_id="r")
            given = {"name": "shop.pay", "return_value": "{'iban': 'DE12', 'n': 1}"}
            logger.info("%(name)s returned %(return_value)s", given)
            logger.info("Task %s did nothing", "x")
            body = b'[["me", "DE12"], {"token": "hush"}, {}]'
            logger.debug("TaskPool: Apply %s (args:%s kwargs:%s)", "f", (body,), {})
    finally:
        logger.removeFilter(hidden)
    assert "refused iban=[redacted] of me, password=[redacted]" in caplog.text
    assert "Traceback" in caplog.text
    assert "shop.pay returned {'iban': [redacted], 'n': 1}" in caplog.text
    assert "Task x did nothing" in caplog.text
    assert "DE12" not in caplog.text
    for text in (caplog.text, str([vars(r).get("data") for r in caplog.records])):
        assert "hush" not in text


def test_what_is_cut_says_so(shop: App) -> None:
    @shop.metronome.task(name="shop.long")
    def long(text: str) -> None:
        raise ValueError("x" * (MESSAGE_LIMIT + 7))

    shop.store.add_run("r")
    shop.trace(shop.celery.tasks["shop.long"], "y" * (ARGUMENT_LIMIT + 7), run_id="r")
    assert shop.store.run("r").error.endswith("… (cut, 7 more characters)")
    assert "more characters)" in str(shop.celery.AsyncResult("r").args)
