"""The page of causes prints the table, and every test that it names exists."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
TABLE: dict[str, Any] = runpy.run_path(str(ROOT / "tests/integration/causes.py"))
NAMED = sorted(
    {test for cause in TABLE["CAUSES"] for test in cause.tests}
    | {test for _, _, test in TABLE["TRAPS"]}
)


def test_the_page_is_the_table() -> None:
    """After a change: ``python tests/integration/causes.py > docs/causes.md``."""
    assert (ROOT / "docs/causes.md").read_text() == TABLE["page"]()


def test_every_row_is_there_once() -> None:
    numbers = [cause.number for cause in TABLE["CAUSES"]]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) >= 27


@pytest.mark.parametrize("test", NAMED)
def test_every_test_that_is_named_exists(test: str) -> None:
    file, _, function = test.partition("::")
    [path] = (ROOT / "tests").rglob(f"{file}.py")
    assert re.search(rf"^def {function}\(", path.read_text(), re.MULTILINE)
