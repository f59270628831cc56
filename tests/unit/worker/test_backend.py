"""The result backend keeps Celery's contract, with or without its database."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from billiard.exceptions import WorkerLostError
from celery.exceptions import TaskRevokedError
from sqlalchemy import select
from worker_app_in_process import App

from flask_metronome.core.run import AttemptState
from flask_metronome.models import results
from flask_metronome.store.results import Result
from flask_metronome.store.results import store as store_result


@contextmanager
def locked(shop: App) -> Iterator[None]:
    """Nobody else can write to the database."""
    connection = sqlite3.connect(str(shop.database.engine.url.database))
    connection.isolation_level = None
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.close()


def row(shop: App, task_id: str) -> Any:
    with shop.database.read() as c:
        return c.execute(
            select(results).where(results.c.task_id == task_id)
        ).one_or_none()


@pytest.mark.parametrize("value", [None, 0, "", "ü", [1, {"a": None}], {"n": 1.5}])
def test_a_result_comes_back_as_it_was(shop: App, value: Any) -> None:
    shop.backend.store_result("t", value, "SUCCESS")
    result = shop.celery.AsyncResult("t")
    assert (result.state, result.get()) == ("SUCCESS", value)
    assert result.date_done == shop.store.clock.moment


def test_an_error_comes_back_as_its_class(shop: App) -> None:
    shop.backend.store_result("t", KeyError("lost"), "FAILURE", traceback="trace")
    result = shop.celery.AsyncResult("t")
    assert isinstance(result.result, KeyError)
    assert (result.state, result.traceback) == ("FAILURE", "trace")


def test_nothing_is_pending(shop: App) -> None:
    result = shop.celery.AsyncResult("t")
    assert (result.state, result.result, result.ready()) == ("PENDING", None, False)


@pytest.mark.parametrize("later", ["STARTED", "RETRY", "FAILURE", "SUCCESS", "OWN"])
def test_success_is_final(shop: App, later: str) -> None:
    shop.backend.store_result("t", 1, "SUCCESS")
    shop.backend.store_result("t", {"n": 2}, later)
    result = shop.celery.AsyncResult("t")
    assert (result.state, result.result) == ("SUCCESS", 1)


@pytest.mark.parametrize("later", ["RETRY", "SUCCESS"])
def test_a_failure_is_not(shop: App, later: str) -> None:
    shop.backend.store_result("t", ValueError("x"), "FAILURE", traceback="trace")
    shop.backend.store_result("t", None, later)
    assert shop.celery.AsyncResult("t").state == later
    assert row(shop, "t").traceback is None


def test_forget(shop: App) -> None:
    shop.backend.store_result("t", 1, "SUCCESS")
    result = shop.celery.AsyncResult("t")
    assert result.get() == 1
    result.forget()
    assert shop.celery.AsyncResult("t").state == "PENDING"


def test_groups(shop: App) -> None:
    members = [shop.celery.AsyncResult(n) for n in ("a", "b")]
    shop.celery.GroupResult("g", members).save()
    again = shop.celery.GroupResult.restore("g")
    assert [r.id for r in again.results] == ["a", "b"]
    shop.celery.GroupResult("g", members[:1]).save()
    shop.backend._cache.clear()
    assert len(shop.celery.GroupResult.restore("g").results) == 1
    again.delete()
    assert shop.celery.GroupResult.restore("g") is None


def test_cleanup_removes_what_is_older_than_result_expires(shop: App) -> None:
    shop.backend.store_result("old", 1, "SUCCESS")
    shop.backend.save_group("old", shop.celery.GroupResult("old", []))
    shop.store.clock.tick(7 * 86_400 + 1)
    shop.backend.store_result("new", 1, "SUCCESS")
    shop.backend.cleanup()
    assert (row(shop, "old"), row(shop, "new").status) == (None, "SUCCESS")
    assert shop.backend.restore_group("old", cache=False) is None


def test_what_is_about_the_task_is_kept_without_secrets(shop: App) -> None:
    @shop.metronome.task(name="shop.login", bind=True)
    def login(self: Any, who: str, password: str) -> str:
        return who + password

    request = {"kwargs": {"password": "hush"}, "group": "g", "parent_id": "p"}
    task_id, _ = shop.trace(login, "me", "hush", **request)
    kept = row(shop, task_id)
    assert (kept.name, kept.worker, kept.queue) == (
        "shop.login",
        "celery@here",
        "default.shop:report",
    )
    assert (kept.group_id, kept.parent_id) == ("g", "p")
    # also where it was given by position, and so has no key
    assert shop.celery.AsyncResult(task_id).args == ["me", "[redacted]"]


def test_children_are_listed(shop: App) -> None:
    @shop.metronome.task(name="shop.parent", bind=True)
    def parent(self: Any) -> None:
        self.add_trail(shop.celery.AsyncResult("child"))

    task_id, _ = shop.trace(parent)
    assert [c.id for c in shop.celery.AsyncResult(task_id).children] == ["child"]


def test_an_unserializable_result_is_a_failure(shop: App) -> None:
    @shop.metronome.task(name="shop.odd")
    def odd() -> object:
        return object()

    shop.store.add_run("r")
    task_id, _ = shop.trace(odd, run_id="r")
    assert shop.celery.AsyncResult(task_id).state == "FAILURE"
    assert shop.store.run("r").state == "failed"


@pytest.mark.parametrize(
    ("state", "shown"),
    [
        ("planned", "PENDING"),
        ("started", "STARTED"),
        ("retrying", "RETRY"),
        ("lost", "FAILURE"),
        ("cancelled", "REVOKED"),
        ("expired", "REVOKED"),
        ("skipped", "REVOKED"),
    ],
)
def test_a_run_without_a_result_shows_how_it_stands(
    shop: App, state: str, shown: str
) -> None:
    shop.store.add_run("r", state=state, error="gone", reason="because")
    result = shop.celery.AsyncResult("r")
    assert result.state == shown
    if shown == "REVOKED":
        with pytest.raises(TaskRevokedError):
            result.get()


@pytest.mark.parametrize("stored", [None, "STARTED", "RETRY", "PROGRESS"])
@pytest.mark.parametrize("kind", [None, "Lost", "DeadLetter"])
def test_a_run_that_a_monitor_ended_is_a_failure(
    shop: App, stored: str | None, kind: str | None
) -> None:
    """Whatever was stored last: nobody who waits for it waits for ever."""
    if stored:
        shop.backend.store_result("r", None, stored)
    shop.store.add_run("r", state="lost", error="gave no sign", error_type=kind)
    with pytest.raises(WorkerLostError, match="gave no sign"):
        shop.celery.AsyncResult("r").get(timeout=1)


def test_while_the_database_is_away_results_are_spooled(shop: App) -> None:
    with locked(shop):
        shop.backend.store_result("t", {"n": 1}, "SUCCESS")
        shop.backend.store_result("u", 2, "SUCCESS")
        assert shop.ledger.replay() == 0
    assert row(shop, "t") is None
    assert shop.ledger.replay() == 2
    assert shop.celery.AsyncResult("t").get() == {"n": 1}
    assert not shop.ledger.spool.is_waiting()


def test_a_spooled_end_counts_as_if_it_had_been_written(shop: App) -> None:
    shop.store.add_run("r")

    @shop.metronome.task(name="shop.slow")
    def slow() -> str:
        lock.__enter__()
        return "done"

    lock = locked(shop)
    shop.trace(slow, run_id="r")
    lock.__exit__(None, None, None)
    assert shop.store.run("r").state == "started"
    assert shop.ledger.replay() == 1
    run = shop.store.run("r")
    assert (run.state, run.attempts) == ("succeeded", 1)
    assert shop.celery.AsyncResult("r").get() == "done"
    # again, after a crash in the middle: nothing changes
    assert shop.store.finish(1, AttemptState.FAILED) is False


def test_a_zombies_result_is_refused(shop: App) -> None:
    shop.store.add_run("r", on_lost="rerun")

    @shop.metronome.task(name="shop.zombie")
    def zombie(n: int) -> int:
        if n == 1:  # it sleeps long; its worker is taken for dead meanwhile
            shop.trace(zombie, 2, run_id="r", delivery_info={"redelivered": True})
        return n

    shop.trace(zombie, 1, run_id="r")
    assert shop.celery.AsyncResult("r").get() == 2
    assert [a.state for a in shop.store.attempts("r")] == ["lost", "succeeded"]


def test_the_upsert_speaks_mysql() -> None:
    from sqlalchemy.dialects import mysql

    from flask_metronome.store import results as module

    names = ("task_id", "status", "result")
    statement = module._upsert("mysql", results, names, "success")
    sql = str(statement.compile(dialect=mysql.dialect()))
    assert "ON DUPLICATE KEY UPDATE" in sql
    # evaluated from left to right: the status must change last
    assert sql.rindex("status = CASE") > sql.rindex("result = CASE")


def test_storing_twice_in_one_statement_each(shop: App) -> None:
    result = Result(task_id="t", status="STARTED", done=False, result=b"{}")
    with shop.database.begin() as c:
        for _ in range(2):
            store_result(c, result, now=shop.store.clock.moment)
    assert row(shop, "t").status == "STARTED"
