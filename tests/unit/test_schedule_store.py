"""Edits, pauses, syncs and asked-for runs: no change ever fires a past instant."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from flask_metronome.core.cadence import cron, every
from flask_metronome.core.schedule import Definition, Schedule
from flask_metronome.database import Database
from flask_metronome.errors import AlreadyExists, Conflict, NotFound, ScheduleInvalid
from flask_metronome.models import audit, metadata, runs, schedules
from flask_metronome.store import declared, requests
from flask_metronome.store import schedules as store
from flask_metronome.store.ticks import tick
from flask_metronome.testing import SettableClock


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock()


@pytest.fixture
def database(tmp_path: Path, clock: SettableClock) -> Iterator[Database]:
    made = Database(f"sqlite:///{tmp_path / 'm.sqlite'}", clock=clock)
    with made.begin() as connection:
        metadata.create_all(connection)
    yield made
    made.dispose()


def definition(key: str = "k", **fields: Any) -> Definition:
    fields.setdefault("cadence", every(10, "minutes"))
    return Definition(key=key, task="t", **fields)


def do(database: Database, function: Any, *args: Any, **fields: Any) -> Any:
    with database.begin() as connection:
        return function(
            connection, *args, who="ada", now=database.now(connection), **fields
        )


def add(database: Database, **fields: Any) -> Schedule:
    made: Schedule = do(database, store.add, definition(**fields), owner="api")
    return made


def turn(database: Database) -> int:
    with database.begin() as connection:
        now = database.now(connection)
        report = tick(connection, now=now, batch=100, owner="me", lease_seconds=30)
    return report.planned


def all_runs(database: Database) -> list[Any]:
    with database.read() as connection:
        return list(connection.execute(select(runs).order_by(runs.c.due_at)))


def test_a_key_is_taken_once(database: Database) -> None:
    add(database)
    with pytest.raises(AlreadyExists):
        add(database)


def test_an_edit_keeps_the_identity_and_aims_at_the_future(
    database: Database, clock: SettableClock
) -> None:
    made = add(database)
    clock.tick(3600)
    edited = do(
        database, store.replace_definition, "k", definition(cadence=cron("0 * * * *"))
    )
    assert (edited.id, edited.revision) == (made.id, 2)
    assert edited.next_due_at == clock.moment + timedelta(hours=1)
    assert turn(database) == 0


def test_an_edit_of_an_older_revision_is_refused(database: Database) -> None:
    add(database)
    do(database, store.replace_definition, "k", definition(lane="mail"))
    with pytest.raises(Conflict, match="revision 2, expected 1"):
        do(
            database,
            store.replace_definition,
            "k",
            definition(),
            expected_revision=1,
        )


def test_an_edit_back_to_an_instant_already_run_does_not_run_it_again(
    database: Database, clock: SettableClock
) -> None:
    add(database)
    clock.tick(600)
    assert turn(database) == 1
    do(database, store.replace_definition, "k", definition(cadence=every(1, "days")))
    do(database, store.replace_definition, "k", definition())
    assert turn(database) == 0
    clock.tick(600)
    turn(database)
    assert len(all_runs(database)) == 2


def test_the_due_times_of_a_pause_are_one_skipped_row(
    database: Database, clock: SettableClock
) -> None:
    add(database, overlap="allow")
    clock.tick(600)
    turn(database)
    paused = do(database, store.pause, "k", reason="stock-taking")
    assert (paused.state, paused.paused_by, paused.next_due_at) == (
        "paused",
        "ada",
        None,
    )
    clock.tick(1805)
    assert turn(database) == 0
    resumed = do(database, store.resume, "k")
    assert resumed.next_due_at == clock.moment + timedelta(seconds=595)
    assert turn(database) == 0
    (_, pause) = all_runs(database)
    assert (pause.state, pause.reason, pause.missed_count, pause.missed) == (
        "skipped",
        "paused",
        3,
        False,
    )


def test_removing_keeps_what_has_history(
    database: Database, clock: SettableClock
) -> None:
    add(database, key="old")
    clock.tick(600)
    add(database, key="fresh")
    do(database, requests.trigger, "old", idempotency_key=None)
    assert do(database, store.remove, "fresh") is True
    assert do(database, store.remove, "old") is False
    with database.read() as connection:
        left = connection.execute(select(schedules.c.key, schedules.c.state)).all()
    assert [tuple(row) for row in left] == [("old", "retired")]
    with pytest.raises(NotFound):
        do(database, store.remove, "fresh")


def stand(database: Database) -> list[tuple[str, str, Any, int]]:
    return [
        (row.state, row.reason, row.due_at.isoformat()[11:16], row.missed_count)
        for row in all_runs(database)
    ]


def remove(database: Database) -> None:
    assert do(database, store.remove, "k") is False


def leave_out(database: Database) -> None:
    with database.begin() as connection:
        now = database.now(connection)
        declared.sync(connection, {}, owner="api", now=now)


@pytest.mark.parametrize("away", [remove, leave_out])
@pytest.mark.parametrize(
    ("paused_before", "left"),
    [
        (False, [("missed", "scheduler_down", "12:10", 2), ("skipped", "retired")]),
        (True, [("skipped", "paused", "12:10", 3)]),
    ],
)
def test_what_was_due_before_a_removal_leaves_its_row(
    database: Database,
    clock: SettableClock,
    away: Any,
    paused_before: bool,
    left: list[Any],
) -> None:
    """Nobody had decided these due times when the schedule was taken away."""
    clock.set(datetime(2026, 6, 1, 12, tzinfo=UTC))
    add(database)
    if paused_before:
        do(database, store.pause, "k", reason=None)
    clock.tick(1805)
    away(database)
    found = stand(database)
    assert [row[: len(want)] for row, want in zip(found, left, strict=True)] == left
    with database.read() as connection:
        state = connection.execute(select(schedules.c.state)).scalar_one()
    assert state == "retired"
    assert turn(database) == 0
    assert stand(database) == found


def test_a_pause_by_hand_in_sql_leaves_its_row_too(
    database: Database, clock: SettableClock
) -> None:
    clock.set(datetime(2026, 6, 1, 12, tzinfo=UTC))
    add(database)
    by_hand = update(schedules).values
    with database.begin() as connection:
        connection.execute(by_hand(state="paused"))
    clock.tick(1805)
    do(database, store.resume, "k")
    assert stand(database) == [("skipped", "paused", "12:10", 3)]
    do(database, store.pause, "k", reason=None)
    clock.tick(600)
    with database.begin() as connection:
        # what the trigger on the table makes of it where there is one
        connection.execute(by_hand(state="active", next_due_at=None))
    assert turn(database) == 0
    assert stand(database)[1:] == [("skipped", "paused", "12:40", 1)]
    assert turn(database) == 0


def test_a_trigger_is_one_run_per_idempotency_key_and_moves_nothing(
    database: Database, clock: SettableClock
) -> None:
    made = add(database)
    first = do(database, requests.trigger, "k", idempotency_key="a", kwargs={"n": 1})
    clock.tick(5)
    again = do(database, requests.trigger, "k", idempotency_key="a")
    other = do(database, requests.trigger, "k", idempotency_key="b")
    assert first == again != other
    assert [row.kwargs for row in all_runs(database)] == [{"n": 1}, {}]
    with database.read() as connection:
        assert store.get(connection, "k").next_due_at == made.next_due_at


def test_a_rerun_takes_the_arguments_of_the_run_it_repeats(
    database: Database, clock: SettableClock
) -> None:
    add(database)
    first = do(database, requests.trigger, "k", idempotency_key="a", kwargs={"n": 1})
    with pytest.raises(Conflict, match="planned"):
        do(database, requests.rerun, first, idempotency_key=None)
    with database.begin() as connection:
        connection.execute(update(runs).values(state="failed"))
    clock.tick(5)
    second = do(database, requests.rerun, first, idempotency_key=None)
    assert {row.id: row.kwargs for row in all_runs(database)} == {
        first: {"n": 1},
        second: {"n": 1},
    }


def test_a_backfill_makes_each_due_time_once_at_its_rate(
    database: Database, clock: SettableClock
) -> None:
    add(database)
    until = clock.moment
    span = {"after": until - timedelta(hours=1), "until": until, "name": "x"}
    assert do(database, requests.backfill, "k", rate_per_second=0.5, **span) == 6
    assert do(database, requests.backfill, "k", **span) == 0
    waits = [(r.publish_after - until).total_seconds() for r in all_runs(database)]
    assert waits == [0, 2, 4, 6, 8, 10]
    assert {row.state for row in all_runs(database)} == {"waiting"}


def test_a_backfill_keeps_to_its_rate_and_its_number_in_flight(
    database: Database, clock: SettableClock
) -> None:
    add(database)
    do(database, store.pause, "k", reason=None)
    until = clock.moment
    do(
        database,
        requests.backfill,
        "k",
        after=until - timedelta(hours=1),
        until=until,
        name="x",
        rate_per_second=1,
        in_flight=2,
    )

    def planned() -> int:
        turn(database)
        return sum(row.state == "planned" for row in all_runs(database))

    assert planned() == 1  # the first is due at once, the next after a second
    clock.tick(5)
    assert planned() == 2  # all may go by the rate, two by the bound
    with database.begin() as connection:
        connection.execute(
            update(runs).where(runs.c.state == "planned").values(state="succeeded")
        )
    assert planned() == 2


@pytest.mark.parametrize(
    ("after", "until", "field"),
    [(-3600, 60, "until"), (0, -60, "after"), (-10_000_000, 0, "until")],
)
def test_a_backfill_of_a_senseless_range_is_refused(
    database: Database, clock: SettableClock, after: int, until: int, field: str
) -> None:
    add(database)
    with pytest.raises(ScheduleInvalid) as caught:
        do(
            database,
            requests.backfill,
            "k",
            after=clock.moment + timedelta(seconds=after),
            until=clock.moment + timedelta(seconds=until),
            name=None,
        )
    assert caught.value.field == field


def test_a_backfill_that_would_never_end_or_is_of_a_retired_schedule_is_refused(
    database: Database, clock: SettableClock
) -> None:
    add(database)
    span: dict[str, Any] = {"until": clock.moment, "name": None}
    span["after"] = clock.moment - timedelta(hours=1)
    for rate in (0, -1, 1e-300, float("nan")):
        with pytest.raises(ScheduleInvalid, match="at least one run a day"):
            do(database, requests.backfill, "k", rate_per_second=rate, **span)
    do(database, requests.trigger, "k", idempotency_key=None)
    do(database, store.remove, "k")
    with pytest.raises(Conflict, match="retired"):
        do(database, requests.backfill, "k", **span)


def test_cancelling_ends_an_open_run_once(database: Database) -> None:
    add(database)
    run = do(database, requests.trigger, "k", idempotency_key=None)
    assert do(database, requests.cancel, run) is True
    assert do(database, requests.cancel, run) is False
    assert [row.state for row in all_runs(database)] == ["cancelled"]


# -- code and database in step -----------------------------------------------------


def sync(database: Database, *definitions: Definition) -> declared.SyncReport:
    with database.begin() as connection:
        return declared.sync(
            connection,
            {d.key: d for d in definitions},
            owner="code",
            now=database.now(connection),
        )


def test_sync_adds_keeps_changes_and_retires(database: Database) -> None:
    assert sync(database, definition("a"), definition("b")).added == ("a", "b")
    assert sync(database, definition("a"), definition("b")).kept == ("a", "b")
    report = sync(database, definition("a", lane="mail"))
    assert (report.changed, report.retired) == (("a",), ("b",))
    report = sync(database, definition("a", lane="mail"), definition("b"))
    assert (report.kept, report.changed) == (("a",), ("b",))
    with database.read() as connection:
        assert store.get(connection, "b").state == "active"


def test_an_edit_of_a_declared_schedule_survives_the_next_sync(
    database: Database,
) -> None:
    sync(database, definition("a"))
    do(database, store.replace_definition, "a", definition("a", catchup="all"))
    assert sync(database, definition("a")).kept == ("a",)
    sync(database, definition("a", lane="mail"))
    with database.read() as connection:
        found = store.get(connection, "a")
    assert (found.definition.catchup, found.definition.lane) == ("all", "mail")
    assert found.declared is not None
    assert found.declared["catchup"] == "latest"


def test_sync_leaves_the_schedules_of_others_alone(database: Database) -> None:
    add(database, key="by-api")
    assert sync(database, definition("a")).retired == ()
    with database.read() as connection:
        assert store.get(connection, "by-api").state == "active"


def test_each_change_is_in_the_audit(database: Database) -> None:
    add(database)
    do(database, store.pause, "k", reason="r")
    do(database, store.resume, "k")
    do(database, store.replace_definition, "k", definition(lane="mail"))
    with database.read() as connection:
        lines = connection.execute(
            select(audit.c.who, audit.c.action, audit.c.detail).order_by(audit.c.id)
        ).all()
    assert [line.action for line in lines] == [
        "schedule.add",
        "schedule.pause",
        "schedule.resume",
        "schedule.edit",
    ]
    assert {line.who for line in lines} == {"ada"}
    assert lines[-1].detail == {"lane": ["default", "mail"]}
