"""The task class: app context and claim, whatever class and way of calling."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from celery import Task, shared_task
from celery.app.task import Context
from celery.exceptions import Ignore, Reject
from flask import current_app, g, has_app_context
from worker_app_in_process import App

from flask_metronome.endings import fence_of
from flask_metronome.messages import message_of
from flask_metronome.spool import Spool
from flask_metronome.store.outbox import OutboxRow

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


@pytest.fixture
def report(shop: App) -> Any:
    @shop.metronome.task(name="shop.report", bind=True)
    def report(self: Any, n: int = 0) -> tuple[str, int, bool]:
        return current_app.name, n, self.request.called_directly

    return report


def test_a_worker_runs_the_body_in_the_apps_context(shop: App, report: Any) -> None:
    task_id, _ = shop.trace(report, 3)
    assert shop.celery.AsyncResult(task_id).get() == ["shop", 3, False]
    assert not has_app_context()


def test_a_direct_call_has_a_context_and_is_a_plain_call(report: Any) -> None:
    assert report(5) == ("shop", 5, True)


def test_a_direct_call_keeps_the_callers_context(shop: App, report: Any) -> None:
    @shop.metronome.task(name="shop.mark")
    def mark() -> Any:
        return g.get("mark")

    with shop.flask.app_context():
        g.mark = "mine"
        assert mark() == "mine"


def test_a_worker_gives_each_delivery_a_context_of_its_own(shop: App) -> None:
    @shop.metronome.task(name="shop.mark")
    def mark() -> Any:
        return g.get("mark")

    with shop.flask.app_context():
        g.mark = "left over"
        task_id, _ = shop.trace(mark)
        assert shop.celery.AsyncResult(task_id).get() is None


def test_eager_mode_neither_claims_nor_stores(shop: App, report: Any) -> None:
    shop.store.add_run("r")
    answer = report.apply((4,), task_id="r", headers={"metronome_run": "r"})
    assert answer.get() == ("shop", 4, False)
    assert shop.store.run("r").state == "published"


def test_a_task_that_calls_itself(shop: App) -> None:
    @shop.metronome.task(name="shop.deep", bind=True)
    def deep(self: Any, n: int) -> list[Any]:
        return [] if n == 0 else [self.request.id, *deep(n - 1)]

    shop.store.add_run("r")
    shop.trace(deep, 2, run_id="r")
    assert shop.store.run("r").state == "succeeded"
    assert len(shop.store.attempts("r")) == 1


@pytest.mark.parametrize("custom_call", [False, True])
def test_a_foreign_task_class_gets_the_claim(shop: App, custom_call: bool) -> None:
    calls: list[str] = []

    class Plain(Task):
        abstract = True

        def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
            calls.append("before")

    class Calling(Plain):
        abstract = True

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            calls.append("call")
            return self.run(*args, **kwargs)

    @shop.metronome.task(name="shop.foreign", base=Calling if custom_call else Plain)
    def foreign() -> str:
        return str(current_app.name)

    shop.store.add_run("r")
    shop.trace(foreign, run_id="r")
    assert shop.celery.AsyncResult("r").get() == "shop"
    assert shop.store.run("r").state == "succeeded"
    assert calls == (["before", "call"] if custom_call else ["before"])


def test_a_shared_task_gets_it_too(shop: App) -> None:
    @shared_task(name="shop.shared")
    def shared() -> str:
        return str(current_app.name)

    shop.store.add_run("r")
    shop.trace(shop.celery.tasks["shop.shared"], run_id="r")
    assert shop.celery.AsyncResult("r").get() == "shop"


def test_a_duplicate_is_acknowledged_and_not_run(shop: App, report: Any) -> None:
    shop.store.add_run("r")
    shop.trace(report, run_id="r")
    _, answer = shop.trace(report, run_id="r")
    assert isinstance(answer.info.retval, Ignore)
    assert (shop.store.run("r").duplicates, len(shop.store.attempts("r"))) == (1, 1)


def test_the_fence_that_a_retry_brings_is_not_its_own(shop: App, report: Any) -> None:
    """Celery makes attributes of a message's headers."""
    request = Context(id="r", metronome_run="r", metronome_fence=1)
    request.headers = {"metronome_run": "r", "metronome_fence": 1}
    assert fence_of(request) is None
    shop.store.add_run("r")
    shop.trace(report, run_id="r", metronome_fence=7)
    assert [attempt.fence for attempt in shop.store.attempts("r")] == [1]
    assert shop.store.run("r").state == "succeeded"


def test_without_a_database_the_message_goes_back(shop: App, report: Any) -> None:
    from test_backend import locked

    shop.store.add_run("r")
    with locked(shop):
        _, answer = shop.trace(report, run_id="r")
    assert isinstance(answer.info.retval, Reject)
    assert answer.info.retval.requeue
    assert shop.store.run("r").state == "published"


def test_an_outage_makes_no_dead_letters(shop: App, report: Any) -> None:
    """The broker counts how often it came back, and gives up in the end."""
    from test_backend import locked

    shop.store.add_run("r")
    with locked(shop):
        for count, kind in ((None, Reject), (9, Reject), (10, Ignore)):
            headers = {"metronome_run": "r", "x-delivery-count": count}
            _, answer = shop.trace(report, run_id="r", headers=headers)
            assert isinstance(answer.info.retval, kind)
    assert shop.ledger.replay() == 1
    assert shop.store.run("r").state == "planned"


def test_what_the_spool_cannot_keep_stays_with_the_broker(
    shop: App, report: Any
) -> None:
    from test_backend import locked

    shop.store.add_run("r")
    shop.ledger.spool = Spool(Path(__file__) / "spool")  # no folder can be made there
    headers = {"metronome_run": "r", "x-delivery-count": 10}
    with locked(shop):
        _, answer = shop.trace(report, run_id="r", headers=headers)
    assert isinstance(answer.info.retval, Reject)
    assert answer.info.retval.requeue
    assert shop.ledger.take_dropped() == 0


@pytest.mark.parametrize("retries", [0, 1])
def test_an_acknowledged_message_without_a_database_is_sent_again(
    shop: App, retries: int
) -> None:
    """The broker has forgotten it: its run goes back to the outbox."""
    from test_backend import locked

    @shop.metronome.task(name="shop.early", acks_late=False)
    def early() -> str:
        return "done"

    state = {0: {}, 1: {"state": "retrying", "retries": 1}}[retries]
    shop.store.add_run("r", **state)
    with locked(shop):
        _, answer = shop.trace(early, run_id="r", retries=retries)
    assert isinstance(answer.info.retval, Ignore)
    assert shop.ledger.replay() == 1
    assert shop.store.run("r").state == "planned"
    assert shop.store.run("r").publish_after is not None
    shop.trace(early, run_id="r", retries=retries)
    assert shop.store.run("r").state == "succeeded"


@pytest.mark.parametrize(("late", "state"), [(True, "retrying"), (False, "failed")])
def test_only_the_message_that_the_broker_still_has_comes_back(
    shop: App, late: bool, state: str
) -> None:
    @shop.metronome.task(name="shop.refuses", acks_late=late)
    def refuses() -> None:
        raise Reject("later", requeue=True)

    shop.store.add_run("r")
    shop.trace(refuses, run_id="r")
    assert shop.store.run("r").state == state


def test_somebody_elses_run_id_is_not_claimed(shop: App, report: Any) -> None:
    shop.store.add_run("r")
    task_id, _ = shop.trace(report, 1, metronome_run="r")
    assert shop.celery.AsyncResult(task_id).get() == ["shop", 1, False]
    assert shop.store.run("r").state == "published"


def test_a_hard_limit_below_the_default_soft_one_can_be_sent(shop: App) -> None:
    @shop.metronome.task(name="shop.short", time_limit=10)
    def short() -> None: ...

    @shop.metronome.task(name="shop.long", soft_time_limit=3000)
    def long() -> None: ...

    for task in (shop.celery.tasks["shop.short"], shop.celery.tasks["shop.long"]):
        assert task.soft_time_limit < task.time_limit
    assert shop.celery.tasks["shop.short"].time_limit == 10
    assert shop.celery.tasks["shop.long"].soft_time_limit == 3000


def test_a_beats_message_leaves_it_to_the_task_to_ignore_its_result(shop: App) -> None:
    row = OutboxRow(
        id="r",
        schedule_key="s",
        origin="schedule",
        due_at=NOON,
        task="shop.report",
        lane="default",
        args=[],
        kwargs={},
        options={},
        catchup=False,
        missed_count=0,
        deadline_at=None,
    )
    assert message_of(row, shop.state, NOON).headers["ignore_result"] is None
