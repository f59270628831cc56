"""What a worker refuses before it starts, each in one sentence."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from flask_metronome import Metronome
from flask_metronome.errors import UnknownLane
from flask_metronome.state import State, state_of
from flask_metronome.worker_start import check_queues, prepare


def make_state(folder: Path, **config: Any) -> State:
    app = Flask("shop", instance_path=str(folder))
    app.config.update(METRONOME_BROKER_URL="amqp://guest@127.0.0.1:1//", **config)
    metronome = Metronome(app)

    @metronome.task(lane="reports")
    def report() -> None: ...

    return state_of(app)


def test_queues_are_those_of_lanes(tmp_path: Path) -> None:
    celery = make_state(tmp_path).celery
    check_queues(celery, {})
    check_queues(celery, {"queues": "metronome.reports, metronome.default"})
    check_queues(celery, {"queues": ["metronome.reports"], "exclude_queues": ""})
    check_queues(celery, {"queues": "reports,default"})
    expected = "-X: expected some of default, reports, got 'mial'"
    with pytest.raises(UnknownLane, match=expected):
        check_queues(celery, {"exclude_queues": "reports,mial"})


def test_a_module_that_the_worker_is_to_import_may_bring_a_lane(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = make_state(tmp_path)

    def imported(name: str) -> types.ModuleType:
        def post() -> None: ...

        state.celery.task(name="more.post", lane="mail", shared=False)(post)
        return types.ModuleType(name)

    monkeypatch.setattr(state.celery.loader, "import_task_module", imported)
    check_queues(state.celery, {"include": "more", "queues": "mail"})


def test_a_wrong_queue_is_bad_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        prepare(make_state(tmp_path), {"queues": "nolane"})
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("worker cannot start: -Q: expected some of ")
    assert said.count("\n") == 1


def test_without_the_databases_driver_no_worker_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pymysql", None)
    state = make_state(tmp_path, METRONOME_DATABASE_URL="mysql://u@127.0.0.1:1/shop")
    with pytest.raises(SystemExit, match=r"Flask-Metronome\[mysql\]"):
        prepare(state, {})


def test_a_fault_does_not_let_the_worker_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = make_state(tmp_path)
    monkeypatch.setattr(state.celery, "load_tasks", lambda: 1 / 0)
    with pytest.raises(SystemExit, match="ZeroDivisionError"):
        prepare(state, {})
