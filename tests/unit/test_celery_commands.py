"""`celery -A` with a Flask app, its factory, or something of somebody else's."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from celery.app.utils import find_app as celerys_own
from celery.bin.celery import celery
from click.testing import CliRunner
from flask import Flask

from flask_metronome import Definition, Metronome, every
from flask_metronome.celery_commands import find_flask_apps_too, metronome
from flask_metronome.schema import init_db
from flask_metronome.state import state_of
from flask_metronome.store import schedules

find_app = find_flask_apps_too(celerys_own)


@pytest.fixture
def module() -> Iterator[types.ModuleType]:
    """An empty module that can be imported by name."""
    name = "metronome_test_module"
    made = types.ModuleType(name)
    sys.modules[name] = made
    yield made
    del sys.modules[name]


def make_app(folder: Path, **config: Any) -> Flask:
    app = Flask("shop")
    app.config.update(METRONOME_DATA_DIR=str(folder), **config)
    Metronome(app)
    return app


def test_a_module_whose_app_is_a_flask_app(module: Any, tmp_path: Path) -> None:
    module.app = make_app(tmp_path)
    expected = state_of(module.app).celery
    assert find_app(module.__name__) is expected
    assert find_app(f"{module.__name__}:app") is expected


def test_a_module_that_has_only_a_factory(module: Any, tmp_path: Path) -> None:
    def create_app(name: str = "shop") -> Flask:
        return make_app(tmp_path)

    module.create_app = create_app
    for name in (module.__name__, f"{module.__name__}:create_app"):
        assert state_of(find_app(name)).settings.data_dir == tmp_path


def test_a_factory_beside_a_task_that_waits_for_its_app(
    module: Any, tmp_path: Path
) -> None:
    metronome = Metronome()

    def create_app() -> Flask:
        app = Flask("shop")
        app.config["METRONOME_DATA_DIR"] = str(tmp_path)
        metronome.init_app(app)
        return app

    @metronome.task(name="shop.report")
    def report() -> None: ...

    module.report = report
    module.create_app = create_app
    assert state_of(find_app(module.__name__)).settings.data_dir == tmp_path


def test_a_module_whose_flask_app_has_another_name(module: Any, tmp_path: Path) -> None:
    module.application = make_app(tmp_path)
    assert find_app(module.__name__) is state_of(module.application).celery


def test_an_ordinary_celery_app_is_found_as_ever(module: Any) -> None:
    module.app = Celery("theirs", set_as_current=False)
    assert find_app(module.__name__) is module.app
    assert find_app(f"{module.__name__}:app") is module.app
    module.celery = module.app
    del module.app
    assert find_app(module.__name__) is module.celery


def test_what_celery_cannot_find_is_still_not_found(module: Any) -> None:
    with pytest.raises(AttributeError):
        find_app(module.__name__)
    with pytest.raises(ModuleNotFoundError):
        find_app("metronome_test_nowhere")


def test_a_factory_with_arguments_is_not_called(module: Any) -> None:
    def create_app(name: str) -> Flask:
        raise AssertionError

    module.create_app = create_app
    assert find_app(f"{module.__name__}:create_app") is create_app


def test_a_wrong_setting_is_one_sentence_and_exit_code_2(
    module: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def create_app() -> Flask:
        return make_app(tmp_path, METRONOME_BEAT_BATCH="many")

    module.create_app = create_app
    with pytest.raises(SystemExit) as caught:
        find_app(f"{module.__name__}:create_app")
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "METRONOME_BEAT_BATCH" in said


def test_a_wrong_setting_of_an_app_made_on_import_is_one_sentence_too(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "metronome_test_shop.py").write_text(
        "from flask import Flask\n"
        "from flask_metronome import Metronome\n"
        "app = Flask(__name__)\n"
        "app.config['METRONOME_TIMEZONE'] = 'Mars'\n"
        "Metronome(app)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SystemExit) as caught:
        find_app("metronome_test_shop")
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "an IANA time zone" in said


@pytest.mark.parametrize("with_tables", [True, False])
def test_celery_metronome_shows_the_state_or_one_sentence(
    tmp_path: Path, with_tables: bool
) -> None:
    state = state_of(make_app(tmp_path))
    if with_tables:
        init_db(state.database)
    context = types.SimpleNamespace(app=state.celery)
    result = CliRunner().invoke(metronome, [], obj=context)
    state.loop.stop()
    state.database.dispose()
    assert result.exit_code == (0 if with_tables else 1)
    assert ("No beat and no worker." in result.stdout) is with_tables
    assert ("flask metronome init-db" in result.stderr) is not with_tables


def test_celery_metronome_shows_the_soonest_of_many(tmp_path: Path) -> None:
    state = state_of(make_app(tmp_path))
    init_db(state.database)
    with state.database.begin() as connection:
        now = state.database.now(connection)
        cadences = {f"a{n}": every(7, "days") for n in range(501)}
        for key, cadence in (cadences | {"soon": every(1)}).items():
            definition = Definition(key=key, task="t", cadence=cadence)
            schedules.add(connection, definition, owner="api", who="test", now=now)
    context = types.SimpleNamespace(app=state.celery)
    result = CliRunner().invoke(metronome, [], obj=context)
    state.loop.stop()
    state.database.dispose()
    assert "  soon  " in result.stdout
    assert result.stdout.count("  every week") == 9


def test_an_error_of_the_app_itself_is_left_to_celery(module: Any) -> None:
    def create_app() -> Flask:
        raise ZeroDivisionError

    module.create_app = create_app
    with pytest.raises(ZeroDivisionError):
        find_app(f"{module.__name__}:create_app")


@pytest.mark.parametrize(
    "command", [["beat"], ["call", "shop.report"], ["result", "some-id"]]
)
def test_what_a_command_of_celery_meets_is_said_in_one_sentence(
    module: Any, tmp_path: Path, command: list[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    module.app = make_app(tmp_path / "file", METRONOME_BROKER="embedded")
    result = CliRunner().invoke(celery, ["-A", module.__name__, *command])
    assert result.exit_code == 1
    assert "Error: " in result.stderr
    assert "File exists" in result.stderr.strip().splitlines()[-1]
    assert "Traceback" not in result.output


def test_a_setting_that_a_factory_trips_over_is_said_and_not_hidden(
    module: Any, tmp_path: Path
) -> None:
    module.create_app = lambda: make_app(tmp_path, METRONOME_STREAMS="many")
    result = CliRunner().invoke(celery, ["-A", module.__name__, "beat"])
    assert result.exit_code == 2
    assert "Error: METRONOME_STREAMS: expected" in result.stderr


def test_which_of_several_apps_is_asked(module: Any, tmp_path: Path) -> None:
    module.shop, module.office = make_app(tmp_path / "a"), make_app(tmp_path / "b")
    result = CliRunner().invoke(celery, ["-A", module.__name__, "beat"])
    assert result.exit_code == 2
    assert "multiple Flask applications" in result.stderr
    found = find_app(f"{module.__name__}:office")
    assert found is state_of(module.office).celery


def test_an_app_that_nobody_gave_a_metronome_is_told_what_to_do(module: Any) -> None:
    module.app = Flask("shop")
    result = CliRunner().invoke(celery, ["-A", module.__name__, "worker"])
    assert result.exit_code == 2
    assert "call Metronome(app)" in result.stderr
