"""The extension: apps, tasks, lanes, schedules in code, Celery's own schedules."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from celery import Task, shared_task
from celery.schedules import crontab, solar
from click.testing import CliRunner
from flask import Flask, current_app
from flask.cli import FlaskGroup
from kombu.transport.native_delayed_delivery import calculate_routing_key

from flask_metronome import Metronome, MetronomeError, cron, every, schema
from flask_metronome.core.schedule import Definition
from flask_metronome.errors import (
    NotInitialized,
    ScheduleInvalid,
    SettingInvalid,
    UnknownLane,
    UnknownTask,
)
from flask_metronome.operations import Operations, sync_declared
from flask_metronome.state import State, state_of
from flask_metronome.tasks import MetronomeTask

MakeApp = Callable[..., Flask]


@pytest.fixture
def make_app(tmp_path: Path) -> MakeApp:
    def make(name: str = "shop", **config: Any) -> Flask:
        app = Flask(name, instance_path=str(tmp_path / name))
        app.config.update(
            METRONOME_BROKER_URL="amqp://guest:guest@127.0.0.1:1//", **config
        )
        return app

    return make


def declared(state: State) -> dict[str, Definition]:
    found = state.declared()
    return found["code"] | found["beat_schedule"]


def test_a_task_runs_in_its_apps_context(make_app: MakeApp) -> None:
    app = make_app()
    metronome = Metronome(app)

    @metronome.task(lane="reports")
    def who() -> str:
        return current_app.import_name

    assert who() == "shop"
    assert metronome.celery.tasks[who.name]() == "shop"
    assert state_of(app).lanes == ("default", "reports")
    assert metronome.celery.tasks[who.name].lane == "reports"


def test_a_task_may_be_declared_before_there_is_an_app(make_app: MakeApp) -> None:
    metronome = Metronome()

    @metronome.task(name="early", schedule=every(10, "seconds"))
    def early() -> str:
        return current_app.import_name

    with pytest.raises(NotInitialized):
        early()
    for name in ("one", "two"):
        metronome.init_app(make_app(name))
    for state in metronome._states:
        assert set(declared(state)) == {"early"}
        with state.flask_app.app_context():
            assert early() == state.flask_app.import_name


def test_two_apps_of_one_process_know_nothing_of_each_other(make_app: MakeApp) -> None:
    first, second = make_app("one"), make_app("two")
    one, two = Metronome(first), Metronome(second)

    @one.task(name="only.one", lane="mail")
    def only_one() -> None: ...

    assert "only.one" not in two.celery.tasks
    assert state_of(second).lanes == ("default",)
    assert one.celery is state_of(first).celery is not two.celery


def test_one_metronome_of_two_apps_wants_to_know_which(make_app: MakeApp) -> None:
    metronome = Metronome(make_app("one"))
    second = make_app("two")
    metronome.init_app(second)
    with pytest.raises(NotInitialized, match=r"with app\.app_context\(\)"):
        _ = metronome.celery
    with second.app_context():
        assert metronome.celery is state_of(second).celery


def test_a_second_metronome_on_one_app_is_refused(make_app: MakeApp) -> None:
    app = make_app()
    Metronome(app)
    with pytest.raises(MetronomeError, match="already"):
        Metronome(app)


def test_an_app_without_metronome_says_what_to_do() -> None:
    with pytest.raises(NotInitialized, match=r"Metronome\(app\)"):
        state_of(Flask("bare"))


def test_a_schedule_in_code_takes_its_tasks_lane(make_app: MakeApp) -> None:
    app = make_app()
    metronome = Metronome(app)

    @metronome.task(
        lane="reports", schedule=cron("0 8 * * mon-fri", tz="Europe/Berlin")
    )
    def send_report() -> None: ...

    metronome.schedule(
        "nightly", send_report, every(1, "days"), catchup="all", args=[1]
    )
    found = declared(state_of(app))
    assert {key: d.lane for key, d in found.items()} == {
        "send-report": "reports",
        "nightly": "reports",
    }
    assert found["nightly"].args == (1,)
    assert found["nightly"].catchup == "all"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"catchup": "sometimes"}, "catchup"),
        ({"overlap": "never"}, "overlap"),
        ({"max_runs": 0}, "max_runs"),
        ({"grace_seconds": -1}, "grace_seconds"),
        ({"colour": "red"}, "colour"),
        ({"lane": "No Lane"}, "lane"),
    ],
)
def test_a_wrong_field_is_named_where_it_is_declared(
    make_app: MakeApp, fields: dict[str, Any], field: str
) -> None:
    metronome = Metronome(make_app())
    with pytest.raises(ScheduleInvalid) as caught:
        metronome.schedule("k", "shop.t", every(1, "hours"), **fields)
    assert caught.value.field == field


def test_a_key_is_declared_once(make_app: MakeApp) -> None:
    metronome = Metronome(make_app())
    metronome.schedule("k", "t", every(1, "hours"))
    with pytest.raises(ScheduleInvalid, match="key"):
        metronome.schedule("k", "t", every(2, "hours"))


def test_a_schedule_of_an_unknown_task_is_refused_with_the_known_ones(
    make_app: MakeApp,
) -> None:
    app = make_app()
    metronome = Metronome(app)

    @metronome.task(name="shop.known")
    def known() -> None: ...

    metronome.schedule("k", "shop.unknown", every(1, "hours"))
    with pytest.raises(UnknownTask, match=r"shop\.known.*shop\.unknown"):
        state_of(app).declared()


def test_listed_lanes_are_all_there_are(make_app: MakeApp) -> None:
    app = make_app(METRONOME_LANES=["mail"])
    metronome = Metronome(app)
    with pytest.raises(UnknownLane, match="mial"):

        @metronome.task(lane="mial")
        def post() -> None: ...

    definition = Definition(key="k", task="celery.ping", cadence=every(1), lane="x")
    with pytest.raises((UnknownLane, UnknownTask)):
        Operations(state_of(app)).check(definition)


def test_what_a_schedule_does_not_say_is_the_apps_default(make_app: MakeApp) -> None:
    app = make_app(
        METRONOME_DEFAULT_LANE="main",
        METRONOME_CATCHUP="none",
        METRONOME_CATCHUP_WINDOW_SECONDS=60,
        METRONOME_GRACE_SECONDS=7,
    )
    metronome = Metronome(app)

    @metronome.task(name="shop.report", lane="reports", schedule=every(1, "hours"))
    def report() -> None: ...

    @metronome.task(name="shop.mail")
    def mail() -> None: ...

    schema.init_db(state_of(app).database)
    said = {"task": "shop.report", "cadence": every(1, "hours")}
    added = metronome.schedules.add(key="a", **said).definition
    other = metronome.schedules.define(
        {"key": "b", "task": "shop.mail", "cadence": every(2).to_dict()}
        | {"lane": None, "catchup": "all", "grace_seconds": None}
    )
    for one in (added, declared(state_of(app))["report"]):
        assert one.lane == "reports"
        assert (one.catchup, one.catchup_window_seconds) == ("none", 60)
        assert one.grace_seconds == 7
    assert (other.lane, other.catchup, other.grace_seconds) == ("main", "all", None)
    with pytest.raises(TypeError, match="not both"):
        metronome.schedules.add(other, key="c")
    state_of(app).database.dispose()


def test_flasks_own_commands_say_a_wrong_setting_in_one_sentence(
    make_app: MakeApp,
) -> None:
    def create_app() -> Flask:
        app = make_app(METRONOME_PAGE_SECONDS="often")
        Metronome(app)
        return app

    runner = CliRunner()
    for command in (["routes"], ["run"], ["--help"]):
        cli = FlaskGroup(create_app=create_app, load_dotenv=False)
        result = runner.invoke(cli, command)
        assert result.stderr.strip() == (
            "Error: METRONOME_PAGE_SECONDS: expected a number above 0, got 'often'."
        )
        assert result.exit_code == (0 if command == ["--help"] else 2)


def test_celerys_own_beat_schedule_is_taken_in(make_app: MakeApp) -> None:
    app = make_app(
        CELERY={
            "beat_schedule": {
                "ten seconds": {"task": "shop.t", "schedule": 10.0, "args": (1,)},
                "delta": {"task": "shop.t", "schedule": timedelta(minutes=5)},
                "morning": {"task": "shop.t", "schedule": crontab(minute=0, hour=8)},
                "dusk": {"task": "shop.t", "schedule": solar("sunset", 52.5, 13.4)},
                "short": {
                    "task": "shop.t",
                    "schedule": 60,
                    "options": {"expires": 30, "queue": "mail", "priority": 3},
                },
            }
        },
        METRONOME_LANES="mail",
    )
    metronome = Metronome(app)

    @metronome.task(name="shop.t")
    def task(_n: int = 0) -> None: ...

    found = state_of(app).declared()["beat_schedule"]
    kinds = {key: d.cadence.to_dict()["kind"] for key, d in found.items()}
    assert kinds == {
        "ten-seconds": "every",
        "delta": "every",
        "morning": "cron",
        "dusk": "solar",
        "short": "every",
    }
    assert {d.overlap for d in found.values()} == {"allow"}
    assert found["short"].lane == "mail"
    assert found["short"].start_deadline_seconds == 30
    assert found["short"].options == {"priority": 3}


def test_no_entry_of_a_beat_schedule_takes_anothers_key(make_app: MakeApp) -> None:
    names = ["send mail", "send-mail", "send mail!", "日報", "月報"]
    given = {
        name: {"task": "t", "schedule": seconds}
        for seconds, name in enumerate(names, 1)
    }
    app = make_app(CELERY={"beat_schedule": given})
    metronome = Metronome(app)

    @metronome.task(name="t")
    def task() -> None: ...

    found = state_of(app).declared()["beat_schedule"]
    assert len(found) == len(names)
    assert found["send-mail"].cadence == every(2)
    assert state_of(app).declared()["beat_schedule"] == found


def test_a_queue_in_celerys_beat_schedule_is_a_lane(make_app: MakeApp) -> None:
    def queued(name: str, queue: str) -> dict[str, Any]:
        schedule = {"task": "shop.t", "schedule": 60, "options": {"queue": queue}}
        return {"beat_schedule": {name: schedule}}

    lanes = []
    for name, queue in (("a", "mail"), ("b", "metronome.mail"), ("c", "celery")):
        app = make_app(name, CELERY=queued(name, queue))
        Metronome(app).task(name="shop.t")(nothing)
        lanes.append(declared(state_of(app))[name].lane)
    assert lanes == ["mail", "mail", "default"]
    app = make_app("d", CELERY=queued("d", "mial"), METRONOME_LANES="mail")
    Metronome(app).task(name="shop.t")(nothing)
    with pytest.raises(UnknownLane, match="one of default, mail, got 'mial'"):
        state_of(app).declared()


def nothing() -> None:
    """A body."""


def test_plain_shared_tasks_can_be_scheduled(make_app: MakeApp) -> None:
    @shared_task(name="elsewhere.shared")
    def shared() -> str:
        return current_app.import_name

    app = make_app()
    metronome = Metronome(app)
    metronome.schedule("s", "elsewhere.shared", every(1, "hours"))
    assert set(declared(state_of(app))) == {"s"}
    task = metronome.celery.tasks["elsewhere.shared"]
    assert isinstance(task, MetronomeTask)
    assert task() == "shop"


def test_a_foreign_task_class_is_given_the_claim_too(make_app: MakeApp) -> None:
    class Foreign(Task):
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return "foreign " + super().__call__(*args, **kwargs)

    metronome = Metronome(make_app())

    @metronome.task(name="shop.foreign", base=Foreign)
    def body() -> str:
        return current_app.import_name

    task = metronome.celery.tasks["shop.foreign"]
    assert isinstance(task, MetronomeTask)
    assert isinstance(task, Foreign)
    assert body() == "foreign shop"


def test_sync_brings_the_code_into_the_database(make_app: MakeApp) -> None:
    app = make_app()
    metronome = Metronome(app)

    @metronome.task(schedule=every(10, "seconds"))
    def tick_tock() -> None: ...

    state = state_of(app)
    schema.init_db(state.database)
    code, from_celery = sync_declared(state)
    assert (code.added, from_celery.added) == (("tick-tock",), ())
    assert metronome.schedules.get("tick-tock").owner == "code"
    state.database.dispose()


@pytest.mark.parametrize("name", ["broker_url", "result_backend", "task_queues"])
def test_what_metronome_is_made_of_cannot_be_set_for_celery(
    make_app: MakeApp, name: str
) -> None:
    with pytest.raises(SettingInvalid, match=name):
        Metronome(make_app(CELERY={name: "x"}))


def test_other_celery_settings_are_the_users(make_app: MakeApp) -> None:
    app = make_app(CELERY={"task_time_limit": 77})
    assert Metronome(app).celery.conf.task_time_limit == 77


def test_a_routing_key_has_two_words_and_a_retry_stays_in_its_lane(
    make_app: MakeApp,
) -> None:
    metronome = Metronome(make_app())

    @metronome.task(name="shop.reports.daily", lane="reports")
    def daily() -> None: ...

    router = metronome.celery.conf.task_routes[0]
    route = router("shop.reports.daily", (), {}, {})
    assert route["routing_key"] == "reports.shop:reports:daily"
    assert route["queue"] == "metronome.reports"
    key = calculate_routing_key(1, "reports.*")
    delayed = {"exchange": "celery_delayed_0", "routing_key": key}
    assert router("celery.ping", (), {}, delayed)["queue"] == "metronome.reports"
    assert router("shop.reports.daily", (), {}, {"queue": "mine"}) is None
