"""Commands on a terminal that does not have every character."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner, Result
from flask import Flask
from flask.cli import ScriptInfo

from flask_metronome import Metronome, every
from flask_metronome.cli import metronome_cli
from flask_metronome.state import state_of


def test_what_a_terminal_does_not_have_is_escaped_and_no_traceback(
    tmp_path: Path,
) -> None:
    app = Flask("shop")
    app.config["METRONOME_DATA_DIR"] = str(tmp_path)
    metronome = Metronome(app)
    metronome.task(name="shop.report", schedule=every(1, "hour"))(report)

    def run(*words: str) -> Result:
        runner = CliRunner(charset="latin-1")
        return runner.invoke(
            metronome_cli, words, obj=ScriptInfo(create_app=lambda: app)
        )

    run("init-db")
    run("sync")
    said = "naïve → 日本 😀"
    words = ("schedules", "edit", "report", "--description", said)
    result = run(*words, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["description"] == said
    result = run("schedules", "show", "report")
    assert result.exit_code == 0, result.output
    assert "naïve \\u2192 \\u65e5\\u672c" in result.stdout
    state_of(app).loop.stop()
    state_of(app).database.dispose()


def report() -> None:
    """Nothing is run here."""
