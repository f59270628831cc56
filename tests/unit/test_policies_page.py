"""The page of policies names every one, with its words, its default and its tests."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from flask_metronome import Definition
from flask_metronome.core.schedule import CATCHUPS, MOST_CAUGHT_UP, ON_LOST, OVERLAPS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/policies.md").read_text()
#: What every schedule has: its identity, what to run, and when.
NO_POLICIES = {"key", "task", "cadence"}


def test_every_policy_is_there() -> None:
    named = set(re.findall(r"`(\w+)`", PAGE))
    assert {field.name for field in fields(Definition)} - named == NO_POLICIES
    assert {*CATCHUPS, *OVERLAPS, *ON_LOST} <= named


def test_the_defaults_are_those_of_a_definition() -> None:
    defaults = {field.name: field.default for field in fields(Definition)}
    marked = re.findall(r"^\| `(\w+)` \(default\)", PAGE, re.MULTILINE)
    assert marked == [defaults["catchup"], defaults["overlap"]]
    limits = rf"`catchup_limit` \({defaults['catchup_limit']}, up to {MOST_CAUGHT_UP}\)"
    assert re.search(limits, PAGE)


@pytest.mark.parametrize("test", re.findall(r"`(test_\w+::test_\w+)`", PAGE))
def test_every_test_that_is_named_exists(test: str) -> None:
    file, _, function = test.partition("::")
    [path] = (ROOT / "tests").rglob(f"{file}.py")
    assert re.search(rf"^def {function}\(", path.read_text(), re.MULTILINE)
