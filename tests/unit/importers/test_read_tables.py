"""Reading the tables of django-celery-beat and sqlalchemy-celery-beat."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from flask_metronome import cron, every, once, solar
from flask_metronome.errors import DatabaseUnreachable, SourceUnreadable
from flask_metronome.importers.django_celery_beat import read_django_celery_beat
from flask_metronome.importers.imported import CannotCarry, Found, ImportedSchedule
from flask_metronome.importers.peer_tables import peer_tables
from flask_metronome.importers.sqlalchemy_celery_beat import (
    read_sqlalchemy_celery_beat,
)

BERLIN_MORNING = cron("30 8 * * 1,2,3,4,5", "Europe/Berlin", both_days=False)
QUARTER = every(15, "minutes")
SUNSET = solar("sunset", 52.520008, 13.404954)
LAUNCH = once(datetime(2099, 1, 31, 8, tzinfo=UTC))


def carried(found: Sequence[Found]) -> dict[str, ImportedSchedule]:
    return {one.name: one for one in found if isinstance(one, ImportedSchedule)}


def refused(found: Sequence[Found]) -> dict[str, CannotCarry]:
    return {one.name: one for one in found if isinstance(one, CannotCarry)}


@pytest.fixture
def django(django_url: str) -> list[Found]:
    with peer_tables(django_url) as tables:
        return read_django_celery_beat(tables)


@pytest.fixture
def sqlalchemy(sqlalchemy_url: str) -> list[Found]:
    with peer_tables(sqlalchemy_url) as tables:
        return read_sqlalchemy_celery_beat(tables)


def test_a_django_row_with_everything(django: list[Found]) -> None:
    assert carried(django)["Daily report"] == ImportedSchedule(
        name="Daily report",
        task="shop.report",
        cadence=BERLIN_MORNING,
        args=("eu",),
        kwargs={"copies": 2},
        queue="reports",
        description="For the board",
        start_deadline_seconds=600,
        options={
            "priority": 7,
            # the peer says its name in the header; a task may look at it
            "headers": {"tenant": "eu", "periodic_task_name": "Daily report"},
        },
    )


def test_each_kind_of_django_schedule(django: list[Found]) -> None:
    found = carried(django)
    assert {name: found[name].cadence for name in ("quick", "sunset", "launch")} == {
        "quick": every(0.25),
        "sunset": SUNSET,
        "launch": LAUNCH,
    }
    assert found["every quarter"].cadence == QUARTER
    assert found["every quarter"].start_at == datetime(2098, 1, 1, tzinfo=UTC)
    assert found["every quarter"].end_at == datetime(2099, 1, 1, tzinfo=UTC)


def test_what_runs_once_runs_once(django: list[Found]) -> None:
    assert carried(django)["one of many"].max_runs == 1
    # an instant needs no count
    assert carried(django)["launch"].max_runs is None
    done = refused(django)["once, done"]
    assert done.over
    assert "did" in done.reason


def test_a_disabled_row_is_paused_with_the_reason(django: list[Found]) -> None:
    assert carried(django)["switched off"].paused == "disabled in django-celery-beat"
    assert carried(django)["quick"].paused is None


def test_own_routes_are_said_to_be_lost(django: list[Found]) -> None:
    lost = carried(django)["own route"].lost
    assert [sentence.split()[0] for sentence in lost] == ["exchange", "routing_key"]
    assert carried(django)["quick"].lost == ()


def test_django_rows_that_cannot_be_read_name_the_field(django: list[Found]) -> None:
    reasons = {
        name: one.reason for name, one in refused(django).items() if not one.over
    }
    assert reasons.keys() == {"bad json", "bad cron", "no schedule"}
    assert reasons["bad json"] == "args: expected a JSON list, got 'not json'."
    assert reasons["bad cron"].startswith("crontab: expected what Celery reads")
    assert reasons["no schedule"] == "schedule: expected one, got None."


def test_each_sqlalchemy_row(sqlalchemy: list[Found]) -> None:
    found = carried(sqlalchemy)
    assert {name: one.cadence for name, one in found.items()} == {
        "Daily report": BERLIN_MORNING,
        "every quarter": QUARTER,
        "sunset": SUNSET,
        "launch": LAUNCH,
        "switched off": QUARTER,
        "once": QUARTER,
        "unknown task": QUARTER,
    }
    report = found["Daily report"]
    assert (report.args, report.kwargs) == (("eu",), {"copies": 2})
    assert report.options == {"priority": 7, "headers": {"tenant": "eu"}}
    assert report.start_deadline_seconds == 600
    assert found["switched off"].paused == "disabled in sqlalchemy-celery-beat"
    assert found["once"].max_runs == 1
    assert found["every quarter"].start_at == datetime(2098, 1, 1, tzinfo=UTC)
    assert found["every quarter"].end_at == datetime(2099, 1, 1, tzinfo=UTC)


def test_a_sqlalchemy_row_without_its_schedule(sqlalchemy: list[Found]) -> None:
    assert {name: one.reason for name, one in refused(sqlalchemy).items()} == {
        "no schedule": "intervalschedule: expected a schedule that is there, got 99."
    }


def test_older_tables_with_fewer_columns_can_be_read(
    django_url: str, tmp_path: Path
) -> None:
    path = django_url.removeprefix("sqlite:///")
    connection = sqlite3.connect(path)
    for name in ("headers", "expire_seconds", "priority", "start_time"):
        connection.execute(
            f"ALTER TABLE django_celery_beat_periodictask DROP COLUMN {name}"
        )
    connection.commit()
    connection.close()
    with peer_tables(django_url) as tables:
        found = carried(read_django_celery_beat(tables))
    assert found["Daily report"].start_deadline_seconds is None
    assert found["every quarter"].start_at is None


def test_reading_leaves_the_peers_file_as_it_was(django_url: str) -> None:
    path = Path(django_url.removeprefix("sqlite:///"))
    before = path.read_bytes()
    with peer_tables(django_url) as tables:
        assert read_django_celery_beat(tables)
    assert path.read_bytes() == before
    assert not path.with_name(path.name + "-wal").exists()


def test_a_database_without_the_tables_is_named(sqlalchemy_url: str) -> None:
    with (
        pytest.raises(SourceUnreadable, match="no table django_celery_beat_periodict"),
        peer_tables(sqlalchemy_url) as tables,
    ):
        read_django_celery_beat(tables)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("nonsense", "--url: expected a postgresql"),
        ("oracle://user:word@host/db", "--url: expected a postgresql"),
        ("sqlite://", "in-memory"),
        ("sqlite:///nowhere/there.sqlite3", "is not there"),
    ],
)
def test_what_cannot_be_opened_is_said(url: str, says: str) -> None:
    with pytest.raises(SourceUnreadable, match=says), peer_tables(url):
        pytest.fail("it was opened")
    assert not Path("nowhere").exists()


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "text.sqlite3"
    path.write_text("no database at all, but long enough to be looked at" * 20)
    with (
        pytest.raises(DatabaseUnreachable, match="not a database"),
        peer_tables(f"sqlite:///{path}") as tables,
    ):
        tables.rows("anything")


def test_a_server_that_does_not_answer_is_one_sentence() -> None:
    url = "postgresql://user:word@127.0.0.1:1/db"
    with pytest.raises(DatabaseUnreachable) as caught, peer_tables(url):
        pytest.fail("it was opened")
    assert "word" not in str(caught.value)
    assert "\n" not in str(caught.value)
