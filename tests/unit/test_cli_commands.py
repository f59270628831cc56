"""The commands on a SQLite database, without a broker."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from flask import Flask
from flask.cli import ScriptInfo

from flask_metronome import Metronome, every
from flask_metronome.cli import metronome_cli
from flask_metronome.state import state_of
from flask_metronome.store import workers
from flask_metronome.store.workers import WorkerBeat

Run = Callable[..., Result]


def make_app(folder: Path, **config: Any) -> Flask:
    app = Flask("shop")
    app.config.update(
        METRONOME_DATA_DIR=str(folder), METRONOME_DATABASE_TIMEOUT_SECONDS=2, **config
    )
    metronome = Metronome(app)

    @metronome.task(name="shop.report", lane="reports", schedule=every(1, "hour"))
    def report() -> None:
        """Nothing is run here."""

    return app


def runner_of(app: Flask) -> Run:
    def run(*words: str) -> Result:
        return CliRunner().invoke(
            metronome_cli, words, obj=ScriptInfo(create_app=lambda: app)
        )

    return run


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Commands on one database that no test changes."""
    app = make_app(tmp_path_factory.mktemp("untouched"))
    run = runner_of(app)
    assert run("init-db").exit_code == 0
    assert run("sync").exit_code == 0
    yield run
    state = state_of(app)
    state.loop.stop()
    state.database.dispose()


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Flask]:
    app = make_app(tmp_path)
    yield app
    state = state_of(app)
    state.loop.stop()
    state.database.dispose()


@pytest.fixture
def run(app: Flask) -> Run:
    run = runner_of(app)
    assert run("init-db").exit_code == 0
    assert run("sync").exit_code == 0
    return run


def loaded(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def only_sentence(result: Result) -> str:
    """The one sentence on standard error; nothing is on standard output."""
    assert result.stdout == ""
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    return lines[0]


def test_init_db_and_migrate_say_the_version(app: Flask) -> None:
    run = runner_of(app)
    assert "tables at version" in run("init-db").stdout
    assert "tables at version" in run("migrate").stdout


def test_a_schedule_from_add_to_rm(run: Run) -> None:
    made = loaded(
        run(
            *("schedules", "add", "nightly", "--task", "shop.report", "--json"),
            *("--cron", "30 2 * * *", "--tz", "Europe/Berlin"),
            *("--kwargs", '{"a": [1]}', "--catchup", "none", "--jitter", "2 min"),
        )
    )
    assert made["cadence"]["expression"] == "30 2 * * *"
    assert made["lane"] == "reports"
    assert made["kwargs"] == {"a": [1]}
    assert made["jitter_seconds"] == 120
    assert made["next_due_at"].endswith("Z")
    edited = loaded(
        run(
            *("schedules", "edit", "nightly", "--every", "90s"),
            *("--clear", "kwargs", "--json"),
        )
    )
    assert edited["cadence"] == {"kind": "every", "every": 90, "unit": "seconds"}
    assert edited["kwargs"] == {}
    assert edited["catchup"] == "none"
    assert edited["revision"] == made["revision"] + 1
    run("schedules", "pause", "nightly", "--reason", "stocktaking")
    shown = run("schedules", "show", "nightly").stdout
    assert "stocktaking" in shown
    assert "every 90 seconds" in shown
    assert "resumed" in run("schedules", "resume", "nightly").stdout
    past = run("schedules", "edit", "nightly", "--once", "2020-01-01").stdout
    assert past == "nightly: changed, once, at 2020-01-01 00:00 (UTC), never due\n"
    assert run("schedules", "rm", "nightly").exit_code == 0
    assert run("schedules", "show", "nightly").exit_code == 1


def test_list_shows_what_the_code_declares(untouched: Run) -> None:
    table = untouched("schedules", "list").stdout
    headers = table.splitlines()[0].split()
    assert headers == ["KEY", "STATE", "WHEN", "LANE", "TASK", "NEXT", "DUE"]
    assert "every hour" in table
    assert [
        item["key"]
        for item in loaded(untouched("schedules", "list", "--json"))["items"]
    ]
    assert (
        untouched("schedules", "list", "--state", "paused").stdout == "No schedules.\n"
    )


def test_every_cadence_is_named_where_none_is_given(untouched: Run) -> None:
    result = untouched("schedules", "add", "some", "--task", "shop.report")
    assert result.exit_code == 2
    options = "--cron, --every, --once, --solar, --rrule, --follows"
    assert f"expected one of {options}, got None" in only_sentence(result)


def test_before_anything_is_made_every_list_says_how_to_make_it(
    tmp_path: Path,
) -> None:
    app = make_app(tmp_path / "not-made")
    for words in ("schedules list", "runs list", "incidents list", "lanes list"):
        result = runner_of(app)(*words.split())
        assert result.exit_code == 1
        assert "run `flask metronome init-db`" in only_sentence(result)
    state_of(app).loop.stop()


def test_a_triggered_run_can_be_seen_cancelled_and_run_again(run: Run) -> None:
    words = ("schedules", "trigger", "report", "--idempotency-key", "k", "--json")
    made = loaded(run(*words))["run"]
    assert loaded(run(*words))["run"] == made
    listed = loaded(run("runs", "list", "--origin", "manual", "--json"))["items"]
    assert [one["id"] for one in listed] == [made]
    assert made in run("runs", "list").stdout
    assert "No attempts." in run("runs", "show", made).stdout
    assert run("runs", "cancel", made).exit_code == 0
    again = run("runs", "cancel", made)
    assert again.exit_code == 1
    assert "over already" in only_sentence(again)
    rerun = loaded(run("runs", "rerun", made, "--json"))
    assert rerun["rerun_of"] == made
    assert rerun["run"] != made
    assert loaded(run("runs", "show", made, "--json"))["attempts"] == []


def test_backfill_makes_the_due_times_of_a_span(run: Run) -> None:
    words = ("--after", "2026-01-01T00:30Z", "--until", "2026-01-01T03:30Z")
    found = loaded(run("schedules", "backfill", "report", *words, "--json"))
    assert found["runs"] == 3


def test_preview_of_a_cadence_names_the_clock_change(untouched: Run) -> None:
    result = untouched(
        *("schedules", "preview", "--cron", "30 2 * * *", "--tz", "Europe/Berlin"),
        *("--after", "2026-03-27T12:00:00Z", "--count", "3", "--json"),
    )
    found = loaded(result)
    assert [(one["due_at"], one["local"]) for one in found] == [
        ("2026-03-28T01:30:00Z", "2026-03-28T02:30:00+01:00"),
        ("2026-03-29T01:00:00Z", "2026-03-29T03:00:00+02:00"),
        ("2026-03-30T00:30:00Z", "2026-03-30T02:30:00+02:00"),
    ]
    assert [bool(one["note"]) for one in found] == [False, True, False]


def test_preview_of_a_schedule_follows_its_cadence(untouched: Run) -> None:
    words = ("--after", "2026-01-01T00:10:00Z", "--count", "2")
    table = untouched("schedules", "preview", "report", *words).stdout
    assert "2026-01-01 01:00:00Z" in table
    assert "2026-01-01 02:00:00Z" in table


def test_lanes_are_listed_without_a_broker(untouched: Run) -> None:
    result = untouched("lanes", "list", "--json")
    assert {lane["name"]: lane["broker"] for lane in loaded(result)} == {
        "default": None,
        "reports": None,
    }
    assert "no broker is set or running" in result.stderr


def test_lanes_alone_lists_them(untouched: Run) -> None:
    listed, alone = untouched("lanes", "list", "--json"), untouched("lanes", "--json")
    assert alone.exit_code == 0
    assert alone.stdout == listed.stdout
    assert untouched("lanes").stdout == untouched("lanes", "list").stdout
    assert untouched("lanes", "--json", "list").exit_code == 2


def test_an_edit_must_change_something(app: Flask, run: Run) -> None:
    before = json.loads(run("schedules", "show", "report", "--json").stdout)
    for words, said in (
        ((), "at least one option"),
        (("--args", "[1]", "--clear", "args"), "args: expected a new value or --clear"),
    ):
        result = run("schedules", "edit", "report", *words)
        assert result.exit_code == 2, result.output
        assert said in result.stderr
        assert len(result.stderr.splitlines()) == 1
    after = json.loads(run("schedules", "show", "report", "--json").stdout)
    assert after["revision"] == before["revision"]


def test_prune_says_what_it_deleted(run: Run) -> None:
    assert set(loaded(run("prune", "--json")).values()) == {0}


def test_doctor_says_ok_or_failed_and_what_to_do(untouched: Run) -> None:
    result = untouched("doctor", "--json")
    assert result.exit_code == 1
    found = {one["check"]: one for one in json.loads(result.stdout)}
    assert found["database"]["ok"]
    assert found["tables"]["ok"]
    assert found["clock"]["ok"]
    for check in ("broker", "beats", "workers", "lanes", "monitor"):
        assert not found[check]["ok"]
        assert found[check]["advice"]
    table = untouched("doctor").stdout.splitlines()
    assert len(table) == len(found)
    assert all(line.startswith(("ok ", "failed ")) for line in table)


def test_doctor_tells_of_records_that_workers_dropped(app: Flask, run: Run) -> None:
    said = WorkerBeat(
        id="w", hostname="w@h", pid=1, version="1", lanes=[], active=[], dropped=3
    )
    database = state_of(app).database
    with database.begin() as connection:
        workers.heartbeat(connection, said, now=database.now(connection))
    found = {one["check"]: one for one in json.loads(run("doctor", "--json").stdout)}
    assert found["workers"]["ok"]
    assert "1 alive, 3 records dropped" in found["workers"]["found"]


def test_doctor_goes_on_when_there_are_no_tables(app: Flask) -> None:
    path = Path(str(state_of(app).database._url.database))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    result = runner_of(app)("doctor", "--json")
    found = {one["check"]: one for one in json.loads(result.stdout)}
    assert result.exit_code == 1
    assert "init-db" in found["tables"]["advice"]
    assert found["database"]["ok"]


def test_doctor_makes_no_database(tmp_path: Path) -> None:
    app = make_app(tmp_path / "not-made")
    path = Path(str(state_of(app).database._url.database))
    result = runner_of(app)("doctor")
    assert result.exit_code == 1
    assert "run `flask metronome init-db`" in result.stdout
    assert not path.exists()
    state_of(app).loop.stop()


def test_broker_says_what_up_would_start(untouched: Run) -> None:
    found = loaded(untouched("broker", "--json"))
    assert found["kind"] is None
    assert "docker, then node, then embedded" in found["why"]


def test_a_broker_url_is_shown_without_its_password(tmp_path: Path) -> None:
    app = make_app(tmp_path, METRONOME_BROKER_URL="amqp://me:s3cret@10.0.0.1//")
    result = runner_of(app)("broker")
    assert "amqp://me:**@10.0.0.1//" in result.stdout
    assert "s3cret" not in result.output


def test_token_prints_a_new_secret_and_how_to_set_it(untouched: Run) -> None:
    first, second = untouched("token"), untouched("token")
    assert len(first.stdout.strip()) >= 40
    assert first.stdout != second.stdout
    assert "METRONOME_API_TOKEN" in first.stderr


ADD = ("schedules", "add", "x", "--task", "shop.report")
BAD_INPUT = [
    (("schedules", "add", "x", "--task", "nope", "--every", "1h"), "task: expected"),
    ((*ADD, "--every", "1h", "--lane", "nope"), "lane: expected"),
    ((*ADD, "--cron", "0 0 31 2 *"), "expected a day"),
    ((*ADD, "--cron", "61 * * * *"), "got '61 * * * *'"),
    ((*ADD, "--cron", "0 8 * * *", "--tz", "Mars/Base"), "got 'Mars/Base'"),
    ((*ADD,), "cadence: expected one of --cron"),
    ((*ADD, "--every", "1h", "--cron", "* * * * *"), "--cron and --every"),
    ((*ADD, "--every", "often"), "'often'"),
    ((*ADD, "--every", "1h", "--args", "{}"), "a JSON list"),
    ((*ADD, "--every", "1h", "--catchup", "maybe"), "'maybe'"),
    ((*ADD, "--every", "1h", "--max-runs", "0"), "max_runs: expected"),
    (("schedules", "add", "a b", "--task", "shop.report", "--every", "1h"), "key: "),
    (("schedules", "add", "x", "--every", "1h"), "--task"),
    (("schedules", "nope"), "No such command 'nope'"),
    (("nope",), "No such command 'nope'"),
    (("runs", "list", "--limit", "0"), "0 is not in the range"),
    (("runs", "list", "--cursor", "nonsense"), "cursor"),
    (("runs", "list", "--state", "nope"), "'nope'"),
    (("runs", "list", "--nope"), "--nope"),
    (("schedules", "preview"), "cadence: expected"),
]


@pytest.mark.parametrize(
    ("words", "sentence"), BAD_INPUT, ids=[" ".join(words) for words, _ in BAD_INPUT]
)
def test_bad_input_is_one_sentence_and_exit_code_2(
    untouched: Run, words: tuple[str, ...], sentence: str
) -> None:
    result = untouched(*words)
    assert result.exit_code == 2
    assert sentence in only_sentence(result)
    assert untouched("schedules", "show", "x").exit_code == 1, "nothing is half-written"


FAILURES = [
    (("schedules", "show", "nope"), "There is no schedule 'nope'."),
    (("schedules", "edit", "nope", "--every", "1h"), "There is no schedule 'nope'."),
    (("schedules", "trigger", "nope"), "There is no schedule 'nope'."),
    (("runs", "show", "nope"), "There is no run 'nope'."),
    (("runs", "list", "--schedule", "nope"), "There is no schedule 'nope'."),
    (
        ("schedules", "add", "report", "--task", "shop.report", "--every", "1h"),
        "exists already",
    ),
    (("topology", "check"), "No broker is set or running"),
    (("topology", "apply"), "No broker is set or running"),
]


@pytest.mark.parametrize(
    ("words", "sentence"), FAILURES, ids=[" ".join(words) for words, _ in FAILURES]
)
def test_a_failure_is_one_sentence_and_exit_code_1(
    untouched: Run, words: tuple[str, ...], sentence: str
) -> None:
    result = untouched(*words)
    assert result.exit_code == 1
    assert sentence in only_sentence(result)


@pytest.mark.parametrize(
    ("config", "words", "code", "sentence"),
    [
        ({"METRONOME_BROKKER": "x"}, ("runs", "list"), 2, "did you mean"),
        ({"METRONOME_BEAT_BATCH": "many"}, ("runs", "list"), 2, "got 'many'"),
        ({"METRONOME_TIMEZONE": "Mars"}, ("runs", "list"), 2, "an IANA time zone"),
        (
            {"METRONOME_DATABASE_URL": "oracle://me:s3cret@x/y"},
            ("runs", "list"),
            2,
            "METRONOME_DATABASE_URL",
        ),
        (
            {"METRONOME_DATABASE_URL": "postgresql://me:s3cret@127.0.0.1:1/x"},
            ("init-db",),
            1,
            "does not answer",
        ),
        (
            {"METRONOME_DATABASE_URL": "postgresql://me:s3cret@127.0.0.1:1/x"},
            ("runs", "list"),
            1,
            "does not answer",
        ),
        (
            {"METRONOME_BROKER_URL": "amqp://me:s3cret@127.0.0.1:1//"},
            ("topology", "apply"),
            1,
            "cannot be reached",
        ),
        ({}, ("runs", "list"), 1, "flask metronome init-db"),
    ],
)
def test_a_wrong_setting_or_surrounding_is_one_sentence(
    tmp_path: Path,
    config: dict[str, Any],
    words: tuple[str, ...],
    code: int,
    sentence: str,
) -> None:
    def create_app() -> Flask:
        return make_app(tmp_path, **config)

    info = ScriptInfo(create_app=create_app)
    result = CliRunner().invoke(metronome_cli, words, obj=info)
    assert result.exit_code == code
    assert sentence in only_sentence(result)
    assert "s3cret" not in result.output


def test_up_refuses_an_app_that_other_processes_cannot_import(untouched: Run) -> None:
    result = untouched("up")
    assert result.exit_code == 2
    assert "--app" in only_sentence(result)


def test_every_command_can_be_imported_and_explains_itself() -> None:
    for name in metronome_cli.list_commands(None):  # type: ignore[arg-type]
        result = CliRunner().invoke(metronome_cli, [name, "--help"])
        assert result.exit_code == 0, name
        assert len(result.stdout.splitlines()) > 4
