"""Every test that the page of definitions names exists, and no word is forgotten."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/definitions.md").read_text()
NAMED = sorted(set(re.findall(r"`(test_\w+::test_\w+)`", PAGE)))


@pytest.mark.parametrize("test", NAMED)
def test_every_test_that_is_named_exists(test: str) -> None:
    file, _, function = test.partition("::")
    [path] = (ROOT / "tests").rglob(f"{file}.py")
    assert re.search(rf"^def {function}\(", path.read_text(), re.MULTILINE)


def test_every_word_is_there() -> None:
    words = re.findall(r"^\| (\w[\w ]*) \|", PAGE, re.MULTILINE)
    assert {*words} >= {
        *("on time", "missed", "skipped", "late", "overrun", "stuck", "lost"),
        *("retried", "expired", "unknown"),
    }
    assert words.count("lost") == 5
