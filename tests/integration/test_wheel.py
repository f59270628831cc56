"""The built wheel, installed beside a foreign app with folders named like ours."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

#: A Flask app as many are: top-level packages called project, broker, monitoring.
FOREIGN_APP = {
    "project/__init__.py": (
        "from flask import Flask\n"
        "from flask_metronome import Metronome, every\n"
        "import broker, monitoring\n"
        "app = Flask(__name__)\n"
        "metronome = Metronome(app)\n"
        "@metronome.task(schedule=every(10))\n"
        "def hello():\n"
        "    return broker.NAME + monitoring.NAME\n"
    ),
    "broker/__init__.py": "NAME = 'their broker'\n",
    "monitoring/__init__.py": "NAME = 'their monitoring'\n",
}


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command to its end; its output, or a failure that shows it."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}"
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the sdist of this tree."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--outdir", folder, ROOT, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (found,) = built.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def foreign(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean virtualenv in ``venv/`` with the wheel, and the foreign app beside it."""
    folder = tmp_path_factory.mktemp("foreign")
    venv.create(folder / "venv", with_pip=True)
    run(folder / "venv/bin/pip", "install", "--quiet", wheel, cwd=folder)
    for name, text in FOREIGN_APP.items():
        (folder / name).parent.mkdir()
        (folder / name).write_text(text)
    return folder


def test_the_wheel_holds_every_file_of_the_three_packages(wheel: Path) -> None:
    packed = set(zipfile.ZipFile(wheel).namelist())
    for folder in (
        "project/flask_metronome",
        "broker/metronome_broker",
        "monitoring/metronome_monitoring",
    ):
        tracked = run("git", "ls-files", folder, cwd=ROOT).splitlines()
        inside = [name.partition("/")[2] for name in tracked]
        assert inside
        assert [name for name in inside if name not in packed] == []


def test_the_wheel_holds_what_is_not_python(wheel: Path) -> None:
    packed = zipfile.ZipFile(wheel).namelist()
    for part in ("py.typed", "/migrations/versions/", "/templates/", "/static/"):
        assert [name for name in packed if part in name], part
    assert not [name for name in packed if name.startswith(("tests/", "project/"))]


def test_the_sdist_holds_tests_licence_rules_and_dashboard(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {
        "LICENSE",
        "README.md",
        "tests/unit/test_layers.py",
        "monitoring/prometheus/rules.yml",
        "monitoring/prometheus/rules_test.yml",
        "monitoring/grafana/dashboard.json",
    } <= names


def test_foreign_packages_and_ours_are_both_importable(foreign: Path) -> None:
    answer = run(
        foreign / "venv/bin/python",
        "-c",
        "import project, broker, monitoring, flask_metronome, metronome_broker,"
        " metronome_monitoring as ours\n"
        "print(project.broker.NAME, ours.__name__, sep=': ')",
        cwd=foreign,
    )
    assert answer.strip() == "their broker: metronome_monitoring"


def test_entry_points_resolve(foreign: Path) -> None:
    answer = run(
        foreign / "venv/bin/python",
        "-c",
        "from importlib.metadata import distribution as d\n"
        "for e in d('flask-metronome').entry_points: print(e.group, e.name, e.load())",
        cwd=foreign,
    )
    assert {line.split()[0] for line in answer.splitlines()} == {
        "console_scripts",
        "flask.commands",
        "celery.beat_schedulers",
        "celery.commands",
    }


@pytest.mark.parametrize(
    "command",
    [
        ("metronome", "--help"),
        ("flask", "--app", "project", "metronome", "--help"),
        ("celery", "-A", "project", "beat", "--help"),
    ],
    ids=lambda command: command[0],
)
def test_commands_start(foreign: Path, command: tuple[str, ...]) -> None:
    name, *arguments = command
    assert "Usage" in run(foreign / "venv/bin" / name, *arguments, cwd=foreign)


def test_the_foreign_apps_schedule_is_stored_and_shown(foreign: Path) -> None:
    flask = foreign / "venv/bin/flask"
    run(flask, "--app", "project", "metronome", "init-db", cwd=foreign)
    run(flask, "--app", "project", "metronome", "sync", cwd=foreign)
    shown = run(
        flask, "--app", "project", "metronome", "schedules", "list", cwd=foreign
    )
    assert "hello" in shown
