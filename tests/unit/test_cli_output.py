from __future__ import annotations

import json
import sys
from datetime import UTC, datetime

import click
import pytest
from click.testing import CliRunner
from sqlalchemy.exc import OperationalError

from flask_metronome.cli import standalone_cli
from flask_metronome.cli.failure import as_failure, without_passwords
from flask_metronome.cli.output import (
    print_fields,
    print_json,
    print_table,
    seconds,
)
from flask_metronome.core.run import RunState
from flask_metronome.database import Database
from flask_metronome.errors import (
    AlreadyExists,
    DatabaseUnreachable,
    NotFound,
    NotInstalled,
    SettingInvalid,
    UnknownTask,
)
from metronome_broker import BrokerUnreachable, InvalidLane

NOON = datetime(2027, 1, 31, 12, tzinfo=UTC)


def test_columns_are_as_wide_as_their_widest_cell(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_table(("A", "LONG"), [("aaa", NOON), ("b", None)], empty="-")
    assert capsys.readouterr().out.splitlines() == [
        "A    LONG",
        "aaa  2027-01-31 12:00:00Z",
        "b",
    ]


def test_an_empty_table_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("A",), [], empty="No schedules.")
    assert capsys.readouterr().out == "No schedules.\n"


def test_line_breaks_do_not_break_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("A", "B"), [("one\ntwo", "x")], empty="-")
    assert capsys.readouterr().out.splitlines()[1] == "one two  x"


def test_fields_without_a_value_are_left_out(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_fields({"key": "a", "error": None, "late": False, "args": []})
    assert capsys.readouterr().out == "key  a\n"


def test_json_has_instants_in_utc_and_plain_states(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_json({"at": NOON, "state": RunState.MISSED, "some": (1, 2)})
    assert json.loads(capsys.readouterr().out) == {
        "at": "2027-01-31T12:00:00Z",
        "state": "missed",
        "some": [1, 2],
    }


@pytest.mark.parametrize(
    ("value", "shown"), [(None, ""), (0.00123, "0.00123 s"), (12.345, "12.3 s")]
)
def test_durations_are_short(value: float | None, shown: str) -> None:
    assert seconds(value) == shown


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UnknownTask("task", "one of a", "b"), 2),
        (SettingInvalid("METRONOME_X", "y", "z"), 2),
        (InvalidLane("lane must be x"), 2),
        (click.BadParameter("no"), 2),
        (NotFound("schedule", "a"), 1),
        (AlreadyExists("a"), 1),
        (DatabaseUnreachable("sqlite:///x", OSError("gone")), 1),
        (BrokerUnreachable("amqp://x", OSError("refused")), 1),
        (OperationalError("select", {}, Exception("locked")), 1),
    ],
)
def test_bad_input_is_2_and_a_failure_is_1(error: Exception, code: int) -> None:
    failure = as_failure(error)
    assert failure is not None
    assert failure.exit_code == code
    assert "\n" not in failure.format_message()


def test_a_fault_of_the_program_keeps_its_traceback() -> None:
    assert as_failure(ZeroDivisionError()) is None


def test_missing_tables_name_the_command_that_makes_them() -> None:
    error = OperationalError(
        "select", {}, Exception("no such table: metronome_schedules")
    )
    failure = as_failure(error)
    assert failure is not None
    assert "flask metronome init-db" in failure.format_message()


def test_a_driver_that_is_not_installed_names_its_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "pymysql", None)
    database = Database("mysql://user:secret@localhost/shop")
    with pytest.raises(NotInstalled, match=r"'Flask-Metronome\[mysql\]'"):
        database.engine.connect()


def test_a_narrow_terminal_cuts_words_but_no_id_and_no_instant(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = ("DUE", "SCHEDULE", "WHY", "ID")
    rows = [(NOON, "a" * 40, "b" * 60, "c" * 36), (NOON, "short", None, "d" * 36)]
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    print_table(headers, rows, empty="-")
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) == 100
    assert lines[1].startswith("2027-01-31 12:00:00Z  " + "a" * 18 + "…  bbbbbbbb")
    assert lines[1].endswith("…  " + "c" * 36)
    assert "short" in lines[2]

    print_table(("KEY", "TASK"), [("a" * 36, "b" * 99)], empty="-")
    assert capsys.readouterr().out.endswith("a" * 36 + "  " + "b" * 61 + "…\n")

    # one that cannot hold them is not filled with less than can be read
    monkeypatch.setenv("COLUMNS", "20")
    print_table(headers, rows, empty="-")
    assert ("a" * 11 + "…") in capsys.readouterr().out

    monkeypatch.setattr(sys.stdout, "isatty", lambda: False, raising=False)
    print_table(headers, rows, empty="-")
    assert "b" * 60 in capsys.readouterr().out


def test_a_group_without_a_command_shows_its_help() -> None:
    result = CliRunner().invoke(standalone_cli, ["runs"])
    assert result.exit_code == 2
    assert result.stderr.startswith("Usage: ")


def test_passwords_are_never_printed() -> None:
    said = without_passwords("no amqp://me:s3cret@host:5672//, no x://u:p@h and a:b")
    assert said == "no amqp://me:**@host:5672//, no x://u:**@h and a:b"
    failure = as_failure(
        OperationalError("s", {}, Exception("postgresql://me:s3cret@h/d refused"))
    )
    assert failure is not None
    assert "s3cret" not in failure.format_message()
