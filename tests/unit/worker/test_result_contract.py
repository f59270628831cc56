"""What Celery's own tests ask of its database backend, asked of ours.

Left out are those about its tables and its session of SQLAlchemy: there are
none here.
"""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from celery import states
from celery.app.task import Context
from celery.exceptions import TimeoutError
from celery.result import result_from_tuple
from celery.utils import uuid
from kombu.exceptions import EncodeError
from sqlalchemy import select
from worker_app_in_process import App

from flask_metronome.backend import ResultBackend
from flask_metronome.models import groups, results
from flask_metronome.redaction import MASK


@pytest.fixture
def backend(shop: App) -> Any:
    return shop.backend


def raised(error: BaseException) -> tuple[BaseException, str]:
    try:
        raise error
    except BaseException as exc:
        return exc, traceback.format_exc()


class OwnError(Exception):
    """One of the app's own, with more than a message."""


class TwoArguments(Exception):
    def __init__(self, code: int, text: str) -> None:
        super().__init__(code, text)
        self.code = code


def test_it_is_the_apps_backend(shop: App, backend: Any) -> None:
    assert isinstance(backend, ResultBackend)
    assert backend.as_uri().startswith("metronome+sqlite")
    assert backend.persistent is True


def test_a_missing_task_is_pending(backend: Any) -> None:
    meta = backend.get_task_meta("xxx-does-not-exist")
    assert (meta["status"], meta["task_id"]) == (states.PENDING, "xxx-does-not-exist")
    assert (meta["result"], meta["traceback"]) == (None, None)


def test_whether_a_result_exists(shop: App, backend: Any) -> None:
    done, failed = uuid(), uuid()
    assert backend.task_result_exists(done) is False
    backend.mark_as_done(done, 42)
    backend.mark_as_failure(failed, RuntimeError("fail"), traceback="tb")
    assert backend.task_result_exists(done) is True
    assert backend.task_result_exists(failed) is True


def test_mark_as_done(backend: Any) -> None:
    task_id = uuid()
    assert (backend.get_state(task_id), backend.get_result(task_id)) == (
        states.PENDING,
        None,
    )
    backend.mark_as_done(task_id, 42)
    assert (backend.get_state(task_id), backend.get_result(task_id)) == (
        states.SUCCESS,
        42,
    )


def test_mark_as_started_and_revoked(backend: Any) -> None:
    task_id = uuid()
    backend.mark_as_started(task_id, pid=1)
    assert backend.get_state(task_id) == states.STARTED
    backend.mark_as_revoked(task_id, "because")
    assert backend.get_state(task_id) == states.REVOKED


@pytest.mark.parametrize("mark", ["mark_as_retry", "mark_as_failure"])
@pytest.mark.parametrize(
    "error",
    [
        KeyError("foo"),
        OwnError("own", 1),
        TwoArguments(7, "seven"),
        OSError(2, "gone"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "why"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_exception_and_its_traceback_come_back(
    backend: Any, mark: str, error: Exception
) -> None:
    task_id = uuid()
    exc, trace = raised(error)
    getattr(backend, mark)(task_id, exc, traceback=trace)
    found = backend.get_result(task_id)
    assert type(found).__name__ == type(error).__name__
    assert backend.get_traceback(task_id) == trace
    if not isinstance(error, UnicodeDecodeError):
        assert found.args == error.args


def test_of_chained_exceptions_the_last_comes_back_and_all_are_told(
    backend: Any,
) -> None:
    try:
        try:
            raise KeyError("first")
        except KeyError as first:
            raise ValueError("second") from first
    except ValueError as second:
        backend.mark_as_failure("t", second, traceback=traceback.format_exc())
    assert isinstance(backend.get_result("t"), ValueError)
    trace = backend.get_traceback("t")
    assert "KeyError: 'first'" in trace
    assert "direct cause" in trace


def test_an_exception_that_cannot_be_written_is_still_one(backend: Any) -> None:
    backend.mark_as_failure("t", ValueError(object()), traceback="tb")
    assert isinstance(backend.get_result("t"), ValueError)


def test_an_exception_of_nowhere_is_still_one(shop: App, backend: Any) -> None:
    hidden = type("Hidden", (Exception,), {"__module__": "not.there"})
    backend.mark_as_failure("t", hidden("x"), traceback="tb")
    result = shop.celery.AsyncResult("t")
    assert type(result.result).__name__ == "Hidden"
    with pytest.raises(Exception, match="x"):
        result.get()


@pytest.mark.parametrize(
    ("state", "result"),
    [
        (states.STARTED, {"pid": 1}),
        (states.FAILURE, KeyError("foo")),
        (states.SUCCESS, 43),
    ],
)
def test_what_comes_after_a_success_is_ignored(
    backend: Any, state: str, result: Any
) -> None:
    backend.mark_as_done("t", 42)
    backend.store_result("t", result, state)
    meta = backend.get_task_meta("t", cache=False)
    assert (meta["status"], meta["result"]) == (states.SUCCESS, 42)


def test_what_comes_before_a_success_is_stored(backend: Any) -> None:
    backend.mark_as_started("t")
    backend.mark_as_retry("t", KeyError("foo"))
    backend.mark_as_failure("t", KeyError("foo"))
    assert backend.get_task_meta("t", cache=False)["status"] == states.FAILURE
    backend.mark_as_done("t", 42)
    meta = backend.get_task_meta("t", cache=False)
    assert (meta["status"], meta["result"]) == (states.SUCCESS, 42)


def test_a_start_that_races_a_success_keeps_it(backend: Any) -> None:
    """Celery's backend loses this race on SQLite: it reads, then writes."""
    backend.mark_as_started("t", pid=1)
    backend.mark_as_done("t", 42)
    backend.mark_as_started("t", pid=2)
    assert backend.get_task_meta("t", cache=False)["result"] == 42


def test_children(shop: App, backend: Any) -> None:
    children = [shop.celery.AsyncResult(uuid()) for _ in range(2)]
    request = Context()
    request.children.extend(children)
    backend.store_result("t", 42, states.SUCCESS, request=request)
    stored = backend.get_task_meta("t")["children"]
    assert [result_from_tuple(c, shop.celery).id for c in stored] == [
        c.id for c in children
    ]
    assert shop.celery.AsyncResult("t").children == children
    backend.store_result("u", 42, states.SUCCESS)
    assert not shop.celery.AsyncResult("u").children


def test_forget(shop: App, backend: Any) -> None:
    backend.mark_as_done("t", {"foo": "bar"})
    backend.mark_as_done("t", {"foo": "bar"})
    result = shop.celery.AsyncResult("t")
    result.forget()
    assert result.result is None


def test_groups_are_saved_restored_and_deleted(shop: App, backend: Any) -> None:
    members = [shop.celery.AsyncResult(uuid()), shop.celery.AsyncResult(uuid())]
    group = shop.celery.GroupResult("g", members)
    assert backend.save_group("g", group) == group
    with shop.database.read() as c:
        raw = c.execute(select(groups.c.result)).scalar_one()
    assert raw[:1] == b"["  # JSON, as result_serializer says
    assert backend.restore_group("g", cache=False) == group
    backend.delete_group("g")
    assert backend.restore_group("g", cache=False) is None
    assert backend.restore_group("xxx-nonexisting-id") is None


def test_results_are_json_and_anything_else_is_refused(shop: App, backend: Any) -> None:
    backend.mark_as_done("t", {"foo": "baz"})
    with shop.database.read() as c:
        row = c.execute(select(results)).one()
    assert (row.content_type, row.result[:1]) == ("application/json", b"{")
    with pytest.raises(EncodeError):
        backend.mark_as_done("u", object())


def test_cleanup_goes_by_the_databases_clock(shop: App, backend: Any) -> None:
    shop.celery.conf.timezone = "Asia/Tokyo"
    backend.expires = timedelta(days=1).total_seconds()
    backend.mark_as_done("expired", 100)
    shop.store.clock.tick(10 * 3600)
    backend.mark_as_done("unexpired", 42)
    shop.store.clock.tick(20 * 3600)
    backend.cleanup()
    assert backend.get_state("expired") == states.PENDING
    assert backend.get_state("unexpired") == states.SUCCESS


def test_without_result_expires_nothing_is_removed(shop: App, backend: Any) -> None:
    backend.expires = None
    backend.mark_as_done("t", 1)
    shop.store.clock.tick(10**9)
    backend.cleanup()
    assert backend.get_state("t") == states.SUCCESS


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [(["a"], {"b": 1}), ([], {}), (("x", 2), {"deep": {"er": [1]}})],
)
def test_result_extended(shop: App, backend: Any, args: Any, kwargs: Any) -> None:
    request = Context(
        args=args,
        kwargs=kwargs,
        task="mytask",
        retries=2,
        hostname="celery@worker_1",
        delivery_info={"routing_key": "celery.x"},
        id="t",
    )
    backend.store_result("t", {"fizz": "buzz"}, states.SUCCESS, request=request)
    meta = backend.get_task_meta("t")
    assert (meta["args"], meta["kwargs"]) == (list(args), kwargs)
    assert (meta["name"], meta["retries"]) == ("mytask", 2)
    assert (meta["worker"], meta["queue"]) == ("celery@worker_1", "celery.x")
    # a later state without a request keeps what is known of the success
    backend.store_result("t", None, states.STARTED)
    assert backend.get_task_meta("t", cache=False)["name"] == "mytask"


class Plain:
    """What JSON cannot say."""

    def __init__(self, data: int) -> None:
        self.data = data

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Plain) and other.data == self.data

    def __hash__(self) -> int:
        return self.data


@pytest.fixture
def pickling(tmp_path: Path) -> Iterator[App]:
    """An app whose results are pickled."""
    given = {"result_serializer": "pickle", "result_accept_content": ["pickle"]}
    made = App(tmp_path, CELERY=given)
    yield made
    made.database.dispose()


def test_pickled_results(pickling: App) -> None:
    backend, result = pickling.backend, {"foo": "baz", "bar": Plain(12345)}
    request = Context(args=[Plain(1), "a"], kwargs={"password": "hush"}, task="t")
    backend.store_result("t", result, states.SUCCESS, request=request)
    found = pickling.celery.AsyncResult("t")
    assert found.get() == result
    # arguments are there to be looked at, and so are text
    assert "Plain object" in found.args
    assert found.kwargs == {"password": MASK}
    exc, trace = raised(TwoArguments(7, "token=hush"))
    backend.mark_as_failure("u", exc, traceback=trace)
    assert backend.get_result("u").args == (7, f"token={MASK}")
    with pickling.database.read() as c:
        assert b"hush" not in b"".join(c.execute(select(results.c.result)).scalars())


def test_pickled_groups(pickling: App) -> None:
    members = [pickling.celery.AsyncResult(uuid()) for _ in range(2)]
    group = pickling.celery.GroupResult("g", members)
    group.save()
    assert pickling.celery.GroupResult.restore("g") == group
    group.delete()
    assert pickling.celery.GroupResult.restore("g") is None


def test_a_changed_serializer_reads_what_was_stored_before(
    pickling: App, tmp_path: Path
) -> None:
    """A restart with another ``result_serializer`` loses no result."""
    pickling.backend.mark_as_done("t", {"n": 1})
    later = App(tmp_path, CELERY={"result_accept_content": ["json", "pickle"]})
    later.backend.mark_as_done("u", {"n": 2})
    assert [later.backend.get_result(name) for name in "tu"] == [{"n": 1}, {"n": 2}]
    later.database.dispose()


def test_a_backend_can_be_pickled(shop: App, backend: Any) -> None:
    shop.celery.set_current()
    again = pickle.loads(pickle.dumps(backend))
    assert isinstance(again, ResultBackend)
    backend.mark_as_done("t", 42)
    assert again.get_result("t") == 42


def test_what_is_cached_can_be_read_again(shop: App, backend: Any) -> None:
    backend.mark_as_failure("t", KeyError("foo"), traceback="tb")
    assert backend.get_state("t") == states.FAILURE
    shop.celery.AsyncResult("t").forget()
    backend.mark_as_done("t", 42)
    backend.reload_task_result("t")
    assert backend.get_result("t") == 42


def test_waiting_for_a_result(shop: App, backend: Any) -> None:
    pending = shop.celery.AsyncResult("t")
    with pytest.raises(TimeoutError):
        pending.get(timeout=0.01, interval=0.005)
    backend.mark_as_failure("t", KeyError("foo"), traceback="tb")
    assert isinstance(pending.get(propagate=False), KeyError)
    with pytest.raises(KeyError):
        pending.get()
    members = [shop.celery.AsyncResult(name) for name in "ab"]
    for number, member in enumerate(members):
        backend.mark_as_done(member.id, number)
    both = shop.celery.GroupResult("g", members)
    assert (both.join(timeout=5), both.completed_count()) == ([0, 1], 2)


def test_the_backend_survives_a_processs_end(backend: Any) -> None:
    backend.process_cleanup()
    backend.mark_as_done("t", 1)
    assert backend.get_result("t") == 1
