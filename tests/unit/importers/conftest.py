"""An app that imports, and databases as the peers leave them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from flask import Flask
from flask.cli import ScriptInfo

from flask_metronome import Metronome
from flask_metronome.cli import metronome_cli
from flask_metronome.models import metadata
from flask_metronome.state import State, state_of

HERE = Path(__file__).parent


def peer_database(folder: Path, script: str) -> str:
    """The URL of a SQLite database made by one of the scripts here."""
    path = folder / script.replace(".sql", ".sqlite3")
    connection = sqlite3.connect(path)
    connection.executescript((HERE / script).read_text())
    connection.close()
    return f"sqlite:///{path}"


@pytest.fixture
def django_url(tmp_path: Path) -> str:
    return peer_database(tmp_path, "django_celery_beat_2_9.sql")


@pytest.fixture
def sqlalchemy_url(tmp_path: Path) -> str:
    return peer_database(tmp_path, "sqlalchemy_celery_beat_0_9.sql")


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Flask]:
    app = Flask("shop")
    app.config.update(
        METRONOME_DATA_DIR=str(tmp_path / "data"), METRONOME_DATABASE_TIMEOUT_SECONDS=2
    )
    metronome = Metronome(app)

    @metronome.task(name="shop.report", lane="reports")
    def report() -> None:
        """Nothing is run here."""

    @metronome.task(name="shop.mail", lane="mail")
    def mail() -> None:
        """Nor here."""

    yield app
    state = state_of(app)
    state.loop.stop()
    state.database.dispose()


@pytest.fixture
def run(app: Flask) -> Callable[..., Result]:
    """Runs a command of ``flask metronome``."""

    def run(*words: str) -> Result:
        info = ScriptInfo(create_app=lambda: app)
        return CliRunner().invoke(metronome_cli, words, obj=info)

    metadata.create_all(state_of(app).database.engine)
    return run


@pytest.fixture
def state(app: Flask, run: Callable[..., Result]) -> State:
    """The app's state, with its tables made."""
    return state_of(app)
