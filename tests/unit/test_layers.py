"""The import rules of ARCHITECTURE.md, held by import-linter, and no circles."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import grimp
import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "project": "flask_metronome",
    "broker": "metronome_broker",
    "monitoring": "metronome_monitoring",
}
CONFIG: Mapping[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
CONTRACTS = CONFIG["tool"]["importlinter"]["contracts"]

#: One import a contract that breaks it: where it is added, and what.
TRESPASSES = {
    "layers": ("project/flask_metronome/models.py", "import flask_metronome.state"),
    "broker": ("broker/metronome_broker/lane.py", "import sqlalchemy"),
    "monitoring": ("monitoring/metronome_monitoring/buckets.py", "import kombu"),
    "core": ("project/flask_metronome/core/run.py", "import celery"),
    "reads": (
        "project/flask_metronome/api/__init__.py",
        "import flask_metronome.models",
    ),
}


def lint(tree: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter on the source roots of a tree."""
    roots = os.pathsep.join(str(tree / folder) for folder in PACKAGES)
    return subprocess.run(
        [
            *(sys.executable, "-c"),
            "from importlinter.cli import lint_imports_command as run; run()",
            *("--no-cache", "--no-logo", "--config", str(ROOT / "pyproject.toml")),
        ],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": roots, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_every_import_rule_is_kept() -> None:
    answer = lint(ROOT)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert f"{len(CONTRACTS)} kept, 0 broken" in answer.stdout


@pytest.fixture
def trespassing_tree(tmp_path: Path) -> Path:
    """A copy of the source in which every contract is broken once."""
    for folder, package in PACKAGES.items():
        shutil.copytree(
            ROOT / folder / package,
            tmp_path / folder / package,
            ignore=shutil.ignore_patterns("__pycache__"),
        )
    for path, line in TRESPASSES.values():
        with (tmp_path / path).open("a") as file:
            file.write(f"\n{line}\n")
    return tmp_path


def test_an_import_against_a_rule_is_found(trespassing_tree: Path) -> None:
    answer = lint(trespassing_tree)
    assert answer.returncode == 1, answer.stdout + answer.stderr
    assert f"0 kept, {len(CONTRACTS)} broken" in answer.stdout


def test_every_contract_has_its_trespass() -> None:
    assert [contract["id"] for contract in CONTRACTS] == list(TRESPASSES)


def circles(edges: Mapping[str, set[str]]) -> Iterator[list[str]]:
    """Groups of modules that reach each other (strongly connected, by Tarjan)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []

    def visit(module: str) -> Iterator[list[str]]:
        index[module] = low[module] = len(index)
        stack.append(module)
        for other in sorted(edges[module]):
            if other not in index:
                yield from visit(other)
                low[module] = min(low[module], low[other])
            elif other in stack:
                low[module] = min(low[module], index[other])
        if low[module] == index[module]:
            at = stack.index(module)
            group = stack[at:]
            del stack[at:]
            if len(group) > 1 or module in edges[module]:
                yield sorted(group)

    for module in sorted(edges):
        if module not in index:
            yield from visit(module)


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = grimp.build_graph(*PACKAGES.values(), cache_dir=None)
    edges = {
        module: graph.find_modules_directly_imported_by(module)
        for module in graph.modules
    }
    assert len(edges) > 50
    assert list(circles(edges)) == []


def test_a_circle_would_be_found() -> None:
    edges = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set[str]()}
    assert list(circles(edges)) == [["a", "b", "c"]]
