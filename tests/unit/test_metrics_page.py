"""``/metronome/metrics``: what a scrape gets, and who may scrape."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from prometheus_client.parser import text_string_to_metric_families

from flask_metronome import Metronome
from flask_metronome.models import metadata
from flask_metronome.state import State, state_of


def _app(folder: Path, **config: Any) -> Flask:
    app = Flask(__name__, instance_path=str(folder))
    app.config.update(METRONOME_DATA_DIR=str(folder), **config)
    Metronome(app)
    return app


def _create(state: State) -> None:
    metadata.create_all(state.database.engine)


@pytest.fixture
def app(tmp_path: Path) -> Any:
    app = _app(tmp_path)
    _create(state_of(app))
    yield app
    state_of(app).database.dispose()


def test_a_scrape_is_prometheus_text(app: Flask) -> None:
    answer = app.test_client().get("/metronome/metrics")
    assert answer.status_code == 200
    assert answer.content_type.startswith("text/plain; version=")
    names = {family.name for family in text_string_to_metric_families(answer.text)}
    assert {"metronome_build_info", "metronome_beats_up"} <= names
    assert "metronome_database_up 1.0" in answer.text
    # our own registry: nothing of the host's process
    assert not any(name.startswith("python_") for name in names)


def test_with_a_token_set_a_scrape_needs_it(tmp_path: Path) -> None:
    app = _app(tmp_path, METRONOME_API_TOKEN="secret")
    _create(state_of(app))
    client = app.test_client()
    assert client.get("/metronome/metrics").status_code == 401
    wrong = {"Authorization": "Bearer other"}
    assert client.get("/metronome/metrics", headers=wrong).status_code == 401
    right = {"Authorization": "Bearer secret"}
    assert client.get("/metronome/metrics", headers=right).status_code == 200
    state_of(app).database.dispose()


def test_without_tables_the_scrape_still_answers(tmp_path: Path) -> None:
    app = _app(tmp_path)
    answer = app.test_client().get("/metronome/metrics")
    assert answer.status_code == 200
    assert "metronome_database_up 0.0" in answer.text
    state_of(app).database.dispose()


def test_two_apps_in_one_process_do_not_mix(tmp_path: Path) -> None:
    one, two = _app(tmp_path / "one"), _app(tmp_path / "two")
    _create(state_of(one))
    first = one.test_client().get("/metronome/metrics").text
    second = two.test_client().get("/metronome/metrics").text
    assert "metronome_database_up 1.0" in first
    assert "metronome_database_up 0.0" in second
    for app in (one, two):
        state_of(app).database.dispose()
