"""Reads: cursors, filters, strips and sums, each in a fixed number of statements."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, event

from flask_metronome.async_views import reading
from flask_metronome.errors import InputInvalid, NotFound
from flask_metronome.history import processes, runs, schedules
from flask_metronome.history.cursor import mark_of, read_cursor, write_cursor
from flask_metronome.history.stats import durations_of, stats_between, success_rate
from flask_metronome.history.values import RunView
from flask_metronome.models import runs as runs_table

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


def read(site: Any, ask: Callable[[Any], Awaitable[Any]]) -> Any:
    """Ask on the loop, with a connection."""

    async def asked() -> Any:
        async with reading(site.state) as connection:
            return await ask(connection)

    return site.state.loop.run(asked())


def all_pages(site: Any, wanted: runs.RunFilter, limit: int) -> list[RunView]:
    found: list[RunView] = []
    cursor: str | None = None
    while True:
        at = cursor
        part = read(
            site, lambda c, at=at: runs.list_runs(c, wanted, limit=limit, cursor=at)
        )
        found += part.items
        assert len(part.items) <= limit
        cursor = part.next_cursor
        if cursor is None:
            return found


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    rows=st.lists(
        st.tuples(st.integers(0, 6), st.sampled_from(["succeeded", "failed", "lost"])),
        max_size=25,
    ),
    limit=st.integers(1, 8),
    states=st.sampled_from([(), ("failed",), ("failed", "lost", "succeeded")]),
)
def test_paging_gives_each_run_once_and_in_order(
    site: Any, rows: list[tuple[int, str]], limit: int, states: tuple[str, ...]
) -> None:
    if not site.ids:
        site.schedule("report")
    with site.state.database.begin() as connection:
        connection.execute(delete(runs_table))
    written = {
        site.run("report", ago=ago, state=state, origin=f"manual:{number}"): state
        for number, (ago, state) in enumerate(rows)
    }

    found = all_pages(site, runs.RunFilter(states=states), limit)

    keys = [(run.due_at, run.id) for run in found]
    assert keys == sorted(keys, reverse=True)
    assert {run.id for run in found} == {
        run_id for run_id, state in written.items() if not states or state in states
    }
    assert len(keys) == len(set(keys))


def test_a_cursor_reads_back_what_was_written() -> None:
    mark = mark_of("runs", "filter")
    cursor = write_cursor(mark, (NOW, "id"))

    assert read_cursor(mark, cursor, (datetime, str)) == (NOW, "id")


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "nonsense",
        "%%%",
        "ä",
        base64.urlsafe_b64encode(b"[1]").decode(),
        base64.urlsafe_b64encode(b"{}").decode(),
        base64.urlsafe_b64encode(b"[" * 5000).decode(),
        base64.urlsafe_b64encode(b'["m", "2026-06-01T12:00:00", "id"]').decode(),
        base64.urlsafe_b64encode(b'["m", 7, "id"]').decode(),
        base64.urlsafe_b64encode(b'["m", "2026-06-01T12:00:00Z", 7]').decode(),
        base64.urlsafe_b64encode(b'["m", "2026-06-01T12:00:00Z", "\\u0000"]').decode(),
        write_cursor("other", (NOW, "id")),
        write_cursor("m", (NOW,)),
    ],
)
def test_a_cursor_of_something_else_is_refused(cursor: str) -> None:
    with pytest.raises(InputInvalid) as caught:
        read_cursor("m", cursor, (datetime, str))
    assert caught.value.field == "cursor"


FILTERS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"state": "failed"}, {"states": ("failed",)}),
    ({"task": "shop.other"}, {"task": "shop.other"}),
    ({"lane": "mail"}, {"lane": "mail"}),
    ({"worker": "celery@other"}, {"worker": "celery@other"}),
    ({"origin": "manual:x"}, {"origin": "manual:x"}),
    ({"origin": "manual:x"}, {"origin": "manual"}),
    ({"origin": "backfill:x"}, {"origin": "backfill"}),
    ({"late": True}, {"flags": ("late",)}),
    ({"missed": True}, {"flags": ("missed",)}),
    ({"overrun": True}, {"flags": ("overrun",)}),
    ({"stuck": True}, {"flags": ("stuck",)}),
    ({"catchup": True}, {"flags": ("catchup",)}),
    ({"retries": 2}, {"flags": ("retried",)}),
    ({"ago": 500}, {"due_before": NOW - timedelta(seconds=500)}),
    ({"ago": 5}, {"due_after": NOW - timedelta(seconds=60)}),
]


@pytest.mark.parametrize(("values", "wanted"), FILTERS)
def test_a_filter_finds_its_run_and_no_other(
    site: Any, values: dict[str, Any], wanted: dict[str, Any]
) -> None:
    site.schedule("report")
    site.run("report")
    run_id = site.run("report", **({"origin": "manual:y?"} | values))
    if "origin" in values:
        site.run("report", origin="manually:x", ago=61)

    assert [run.id for run in all_pages(site, runs.RunFilter(**wanted), 10)] == [run_id]


def test_a_schedules_runs_are_its_own(site: Any) -> None:
    site.schedule("report")
    site.schedule("other")
    mine = [site.run("report", ago=10), site.run("report", ago=20)]
    site.run("other", ago=15)

    found = all_pages(site, runs.RunFilter(schedule="report"), 1)

    assert [run.id for run in found] == mine
    with pytest.raises(NotFound, match="no schedule 'nothing'"):
        all_pages(site, runs.RunFilter(schedule="nothing"), 1)


def test_strips_hold_the_last_runs_of_each_oldest_first(site: Any) -> None:
    for key in ("busy", "new", "idle"):
        site.schedule(key)
    busy = [site.run("busy", ago=100 - number) for number in range(8)]
    new = [site.run("new", ago=7)]

    found = read(site, lambda c: schedules.strips(c, list(site.ids.values()), length=5))

    assert [bar.id for bar in found[site.ids["busy"]]] == busy[-5:]
    assert [bar.id for bar in found[site.ids["new"]]] == new
    assert site.ids["idle"] not in found


def test_runs_of_one_instant_do_not_lengthen_a_strip(site: Any) -> None:
    site.schedule("busy")
    for number in range(6):
        site.run("busy", ago=5, origin=f"manual:{number}")

    found = read(site, lambda c: schedules.strips(c, [site.ids["busy"]], length=3))

    assert len(found[site.ids["busy"]]) == 3


def test_stats_count_due_times_and_not_rows(site: Any) -> None:
    site.schedule("report")
    site.run("report", ago=10, runtime_seconds=1.0, retries=2)
    site.run("report", ago=20, runtime_seconds=3.0, late=True)
    site.run("report", ago=30, state="failed")
    site.run("report", ago=40, state="skipped", reason="overlap")
    site.run(
        "report",
        ago=50,
        state="missed",
        missed=True,
        missed_count=4,
        missed_from=NOW,
        missed_to=NOW,
    )
    # caught up: its count is of the others, which have a row of their own
    site.run("report", ago=60, missed=True, catchup=True, missed_count=4)
    site.run("report", ago=4000)

    found = read(
        site,
        lambda c: stats_between(
            c, NOW - timedelta(hours=1), NOW, schedule_id=site.ids["report"]
        ),
    )

    assert found.runs == 6
    assert found.states == {"failed": 1, "missed": 1, "skipped": 1, "succeeded": 3}
    assert found.missed == 5
    assert (found.late, found.retries) == (1, 2)
    assert found.success_rate == pytest.approx(3 / 5)
    assert (found.durations.sample, found.durations.p50) == (2, 1.0)


def test_durations_are_nearest_ranks() -> None:
    found = durations_of([float(number) for number in range(1, 101)])

    assert (found.p50, found.p95, found.mean, found.longest) == (50, 95, 50.5, 100)
    assert durations_of([]).p50 is None


def test_what_was_left_out_on_purpose_is_no_verdict() -> None:
    assert success_rate({"skipped": 3, "cancelled": 1}) is None
    assert success_rate({"succeeded": 3, "skipped": 3, "lost": 1}) == 0.75


def test_who_lives_is_said_by_heartbeats(site: Any) -> None:
    site.beat(host="alive")
    site.beat(host="silent", heartbeat_at=NOW - timedelta(seconds=16))
    site.beat(host="stopped", stopped_at=NOW)
    site.beat(host="forgotten", heartbeat_at=NOW - timedelta(days=2))
    site.worker(hostname="alive", heartbeat_at=NOW - timedelta(seconds=89))
    site.worker(hostname="gone", heartbeat_at=NOW - timedelta(seconds=91))

    beats = read(site, lambda c: processes.list_beats(c, NOW))
    workers = read(site, lambda c: processes.list_workers(c, NOW, 30))

    assert [b.host for b in beats if b.alive] == ["alive"]
    assert {b.host for b in beats} == {"alive", "silent", "stopped"}
    assert [(w.hostname, w.alive) for w in workers] == [
        ("alive", True),
        ("gone", False),
    ]


def test_lanes_say_who_serves_them_and_what_is_open(site: Any) -> None:
    site.schedule("report", lane="reports")
    site.schedule("paused", lane="mail", state="paused")
    site.run("report", lane="reports", state="published")
    site.run("report", lane="reports", state="started", ago=70)
    site.worker(lanes=["reports", "reports"])

    async def ask(connection: Any) -> Any:
        workers = await processes.list_workers(connection, NOW, 30)
        return await processes.list_lanes(connection, ["default"], workers)

    found = {lane.name: lane for lane in read(site, ask)}

    assert set(found) == {"default", "reports"}
    lane = found["reports"]
    assert (lane.schedules, lane.workers, lane.waiting, lane.running) == (1, 1, 1, 1)


def test_the_first_page_costs_the_same_with_more_schedules(site: Any) -> None:
    statements: list[str] = []

    async def listen() -> None:
        engine = site.state.loop.engine.sync_engine
        event.listen(
            engine, "before_cursor_execute", lambda *args: statements.append(args[2])
        )

    site.state.loop.run(listen())
    site.schedule("first")
    site.run("first")
    assert site.page().status_code == 200
    one = len(statements)
    statements.clear()
    for number in range(20):
        site.schedule(f"more-{number}")
        site.run(f"more-{number}", state="failed")
    assert site.page().status_code == 200

    assert len(statements) == one <= 13
