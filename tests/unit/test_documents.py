"""README and its kin tell the truth about the tree."""

from __future__ import annotations

import re
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

from flask_metronome.cli.commands import COMMANDS
from flask_metronome.settings import FOREIGN_PREFIXES, PREFIX, Settings

ROOT = Path(__file__).parents[2]
DOCUMENTS = (
    *("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"),
    "docs/own-app.md",
    "docs/peers.md",
    "docs/policies.md",
)
SOURCE_ROOTS = ("", "project/flask_metronome", "broker", "monitoring")


def text_of(name: str) -> str:
    return (ROOT / name).read_text()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_leads_to_a_file(document: str) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", text_of(document)):
        assert ((ROOT / document).parent / target).exists(), target


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_file_that_is_named_exists(document: str) -> None:
    for name in re.findall(r"`([\w.-][\w./-]*(?:\.py|/))`", text_of(document)):
        assert any((ROOT / root / name).exists() for root in SOURCE_ROOTS), name


@pytest.mark.parametrize("document", [*DOCUMENTS, "compose/compose.yaml"])
def test_every_command_that_is_named_exists(document: str) -> None:
    text = text_of(document)
    for name in re.findall(r"flask,? metronome,? ([a-z][a-z-]+)", text):
        assert name in COMMANDS, f"flask metronome {name}"
    targets = re.findall(r"^([a-z]+):", text_of("Makefile"), re.MULTILINE)
    for name in re.findall(r"(?:^|`)make ([a-z]+)", text, re.MULTILINE):
        assert name in targets, f"make {name}"


@pytest.mark.parametrize("document", [*DOCUMENTS, "compose/compose.yaml"])
def test_every_setting_that_is_named_exists(document: str) -> None:
    known = {PREFIX + field.name.upper() for field in fields(Settings)}
    for name in re.findall(r"\bMETRONOME_[A-Z_]*[A-Z]\b", text_of(document)):
        foreign = name.startswith((*FOREIGN_PREFIXES, "METRONOME_FLOWER_PORT"))
        assert foreign or name in known, name


def test_the_architecture_prints_the_layers_that_are_enforced() -> None:
    contracts = tomllib.loads(text_of("pyproject.toml"))["tool"]["importlinter"]
    enforced = [
        re.findall(r"\w+", layer) for layer in contracts["contracts"][0]["layers"]
    ]
    part = text_of("ARCHITECTURE.md").partition("## Import rules")[2]
    printed = re.findall(r"```\n(.*?)```", part, re.DOTALL)[0]
    assert [line.split() for line in printed.splitlines()] == enforced


def test_the_readmes_ten_lines_are_a_working_app(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n# app\.py\n(.*?)```", text_of("README.md"), re.S)
    assert len([line for line in code.splitlines() if line]) <= 10
    config = f"app.config['METRONOME_DATA_DIR'] = {str(tmp_path)!r}\n"
    before, made, after = code.partition("app = Flask(__name__)\n")
    names: dict[str, object] = {"__name__": "app"}
    exec(compile(before + made + config + after, "app.py", "exec"), names)
    assert "app.send_report" in names["metronome"].celery.tasks  # type: ignore[attr-defined]
