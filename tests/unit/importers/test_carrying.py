"""Bringing what was read into the database: once, and never over what is there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from flask_metronome import cron, every, once
from flask_metronome.core.schedule import Definition, Schedule
from flask_metronome.declarations import key_of
from flask_metronome.errors import NotFound, UnknownLane
from flask_metronome.importers.carrying import Carried, Importing
from flask_metronome.importers.imported import CannotCarry, Found, ImportedSchedule
from flask_metronome.importers.lanes import LaneChoice
from flask_metronome.models import audit as audit_table
from flask_metronome.models import runs
from flask_metronome.operations import Operations
from flask_metronome.state import State

REPORT = ImportedSchedule(
    name="Daily report",
    task="shop.report",
    cadence=cron("30 8 * * *", "Europe/Berlin"),
    kwargs={"copies": 2},
    start_deadline_seconds=600,
)
KEY = "Daily-report"

Carry = Callable[..., list[Carried]]


@pytest.fixture
def carry(state: State) -> Carry:
    def carry(
        *found: Found,
        lanes: dict[str, str] | None = None,
        lane: str | None = None,
        **how: Any,
    ) -> list[Carried]:
        choice = LaneChoice(state, lanes or {}, lane)
        return Importing(state=state, lanes=choice, who="test", **how).carry(found)

    return carry


@pytest.fixture
def there(state: State) -> Callable[[str], Schedule]:
    return Operations(state).get


@pytest.fixture
def now(state: State) -> datetime:
    with state.database.read() as connection:
        return state.database.now(connection)


def verdicts(rows: list[Carried]) -> list[str]:
    return [row.verdict.value for row in rows]


def audited(state: State) -> list[str]:
    with state.database.read() as connection:
        found = connection.execute(
            select(audit_table.c.action).order_by(audit_table.c.at)
        )
        return [row.action for row in found]


def test_a_new_schedule_runs_as_it_did_there(
    carry: Carry, there: Callable[[str], Schedule], state: State, now: datetime
) -> None:
    (row,) = carry(REPORT)
    assert (row.verdict.value, row.key, row.lane) == ("new", KEY, "reports")
    assert row.is_whole
    made = there(KEY)
    assert made.owner == "import"
    assert made.state == "active"
    assert made.definition.overlap == "allow"
    assert made.definition.kwargs == {"copies": 2}
    assert made.definition.start_deadline_seconds == 600
    assert made.next_due_at is not None
    assert made.next_due_at > now
    assert audited(state) == ["schedule.add"]


def test_a_second_import_changes_nothing(
    carry: Carry, there: Callable[[str], Schedule], state: State
) -> None:
    paused = replace(REPORT, name="off", paused="disabled there")
    odd = replace(REPORT, name="odd", args=((1, 2),), max_runs=3)
    assert verdicts(carry(REPORT, paused, odd)) == ["new"] * 3
    before = [there(key) for key in (KEY, "off", "odd")]
    notes = audited(state)
    assert verdicts(carry(REPORT, paused, odd)) == ["same"] * 3
    assert verdicts(carry(REPORT, paused, odd, overwrite=True)) == ["same"] * 3
    assert [there(key) for key in (KEY, "off", "odd")] == before
    assert audited(state) == notes


def test_a_disabled_schedule_comes_paused_and_says_why(
    carry: Carry, there: Callable[[str], Schedule]
) -> None:
    (row,) = carry(replace(REPORT, paused="disabled there"))
    assert row.paused
    made = there(KEY)
    assert (made.state, made.paused_reason, made.paused_by) == (
        "paused",
        "disabled there",
        "test",
    )
    assert made.next_due_at is None


def test_switching_it_off_there_afterwards_does_not_stop_it_here(
    carry: Carry, there: Callable[[str], Schedule]
) -> None:
    carry(REPORT)
    carry(replace(REPORT, paused="disabled there"))
    assert there(KEY).state == "active"
    # also not when something else of it changed
    carry(replace(REPORT, paused="disabled there", kwargs={"copies": 3}))
    assert (there(KEY).state, there(KEY).definition.kwargs) == ("active", {"copies": 3})


def test_a_change_there_is_taken_over_and_an_edit_here_kept(
    carry: Carry, there: Callable[[str], Schedule], state: State
) -> None:
    carry(REPORT)
    edited = replace(there(KEY).definition, description="edited here")
    Operations(state).replace(KEY, edited)
    assert verdicts(carry(REPORT)) == ["same"]
    changed = replace(REPORT, cadence=every(5, "minutes"), description="from there")
    assert verdicts(carry(changed)) == ["changed"]
    assert there(KEY).definition.cadence == every(5, "minutes")
    assert there(KEY).definition.description == "edited here"
    assert verdicts(carry(changed, overwrite=True)) == ["changed"]
    assert there(KEY).definition.description == "from there"


def test_a_key_of_another_owner_is_a_conflict_until_replaced(
    carry: Carry, there: Callable[[str], Schedule], state: State
) -> None:
    own = Definition(key=KEY, task="shop.mail", lane="mail", cadence=every(60))
    Operations(state).add(own)
    (row,) = carry(REPORT)
    assert row.verdict.value == "conflict"
    assert "belongs to api" in str(row.reason)
    assert not row.is_whole
    assert there(KEY).definition == own
    (row,) = carry(replace(REPORT, paused="disabled there"), overwrite=True)
    assert row.verdict.value == "changed"
    assert there(KEY).owner == "import"
    assert there(KEY).definition.task == "shop.report"
    assert there(KEY).state == "paused"
    assert verdicts(carry(REPORT)) == ["same"]


def test_what_was_removed_here_stays_removed(
    carry: Carry, there: Callable[[str], Schedule], state: State
) -> None:
    carry(REPORT)
    operations = Operations(state)
    operations.trigger(KEY)
    operations.remove(KEY)
    (row,) = carry(REPORT)
    assert (row.verdict.value, there(KEY).state) == ("same", "retired")
    assert "--replace revives it" in str(row.reason)
    (row,) = carry(replace(REPORT, kwargs={}))
    assert (row.verdict.value, there(KEY).state) == ("conflict", "retired")
    assert verdicts(carry(REPORT, overwrite=True)) == ["changed"]
    assert there(KEY).state == "active"


def test_no_import_fires_a_past_instant(
    carry: Carry, there: Callable[[str], Schedule], state: State, now: datetime
) -> None:
    hour_ago, in_an_hour = now - timedelta(hours=1), now + timedelta(hours=1)
    rows = carry(
        replace(REPORT, name="past", cadence=once(hour_ago)),
        replace(REPORT, name="to-come", cadence=once(in_an_hour)),
        replace(REPORT, name="ended", cadence=every(60), end_at=hour_ago),
        replace(REPORT, name="long-since", cadence=every(60), start_at=hour_ago),
    )
    assert verdicts(rows) == ["over", "new", "over", "new"]
    assert rows[0].reason == "it is never due again"
    assert rows[0].is_whole
    for key in ("past", "ended"):
        with pytest.raises(NotFound):
            there(key)
    assert there("to-come").next_due_at == in_an_hour
    due = there("long-since").next_due_at
    assert due is not None
    assert due > now
    with state.database.read() as connection:
        assert connection.execute(select(runs.c.id)).all() == []


def test_a_dry_run_says_the_same_and_writes_nothing(
    carry: Carry, there: Callable[[str], Schedule], state: State
) -> None:
    found = [
        REPORT,
        replace(REPORT, name="gone", task="shop.gone"),
        CannotCarry(name="broken", reason="its args"),
    ]
    said = carry(*found, dry_run=True)
    assert audited(state) == []
    with pytest.raises(NotFound):
        there(KEY)
    assert carry(*found) == said
    assert verdicts(said) == ["new", "cannot", "cannot"]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"task": "shop.gone"}, "shop.mail, shop.report, got 'shop.gone'"),
        ({"queue": "slow"}, "--lane-map or --lane, got 'slow'"),
        ({"options": {"colour": 1}}, "options: expected any of"),
        ({"start_deadline_seconds": -1}, "start_deadline_seconds: expected"),
        (
            {
                "start_at": datetime(2099, 1, 1, tzinfo=UTC),
                "end_at": datetime(2098, 1, 1, tzinfo=UTC),
            },
            "end_at: expected an instant after start_at",
        ),
    ],
)
def test_what_cannot_be_carried_keeps_nothing_else_back(
    carry: Carry, wrong: dict[str, Any], says: str
) -> None:
    bad, good = carry(replace(REPORT, name="bad", **wrong), REPORT)
    assert (bad.verdict.value, good.verdict.value) == ("cannot", "new")
    assert says in str(bad.reason)


def test_which_lane_a_queue_becomes(carry: Carry) -> None:
    def lane_of(found: ImportedSchedule, **how: Any) -> str | None:
        return carry(found, dry_run=True, **how)[0].lane

    slow = replace(REPORT, queue="slow")
    assert lane_of(REPORT) == "reports"
    assert lane_of(replace(REPORT, queue="mail")) == "mail"
    assert lane_of(replace(REPORT, queue="metronome.mail")) == "mail"
    assert lane_of(replace(REPORT, queue="celery")) == "reports"
    assert lane_of(slow) is None
    assert lane_of(slow, lanes={"slow": "mail"}) == "mail"
    assert lane_of(slow, lane="mail") == "mail"
    assert lane_of(replace(REPORT, queue="reports"), lanes={"reports": "mail"}) == (
        "mail"
    )
    # the task's own lane comes before the one for whatever has none
    assert lane_of(REPORT, lane="mail") == "reports"
    assert lane_of(replace(REPORT, task="celery.backend_cleanup")) == "default"
    assert lane_of(replace(REPORT, task="celery.backend_cleanup"), lane="mail") == (
        "mail"
    )


def test_a_lane_that_does_not_exist_is_refused_before_anything(carry: Carry) -> None:
    with pytest.raises(UnknownLane):
        carry(REPORT, lanes={"slow": "nowhere"})
    with pytest.raises(UnknownLane):
        carry(REPORT, lane="nowhere")


def test_what_is_lost_is_kept_in_the_report(carry: Carry) -> None:
    (row,) = carry(replace(REPORT, lost=("exchange 'ex'",)))
    assert (row.verdict.value, row.lost) == ("new", ("exchange 'ex'",))
    assert not row.is_whole


def test_two_names_with_one_key(carry: Carry) -> None:
    first, second = carry(REPORT, replace(REPORT, name="Daily-report"))
    assert (first.verdict.value, second.verdict.value) == ("new", "cannot")
    assert "'Daily report' of the same source" in str(second.reason)


def test_keys_of_names_that_a_key_cannot_say() -> None:
    assert key_of("Daily report (EU)") == "Daily-report-EU"
    assert key_of("отчёт") == key_of("отчёт")
    assert key_of("отчёт") != key_of("письмо")
    long = "x" * 300
    assert len(key_of(long)) <= 190
    assert key_of(long) != key_of(long + "y")
    Definition(key=key_of("отчёт"), task="t", cadence=every(1))
    Definition(key=key_of(long), task="t", cadence=every(1))


def test_more_than_one_transaction_holds(carry: Carry) -> None:
    many = [replace(REPORT, name=f"n{number}") for number in range(230)]
    assert verdicts(carry(*many)) == ["new"] * 230
    assert verdicts(carry(*many)) == ["same"] * 230
