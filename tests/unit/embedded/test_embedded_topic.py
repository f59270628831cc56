"""Topic patterns against a slow and obvious definition of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metronome_broker.embedded.exchange import topic_matches

WORDS = st.lists(st.sampled_from(["a", "b", ""]), max_size=6).map(tuple)
PATTERNS = st.lists(st.sampled_from(["a", "b", "*", "#"]), max_size=6).map(tuple)


def obvious(pattern: tuple[str, ...], words: tuple[str, ...]) -> bool:
    if not pattern:
        return not words
    if pattern[0] == "#":
        return any(obvious(pattern[1:], words[n:]) for n in range(len(words) + 1))
    if not words or pattern[0] not in ("*", words[0]):
        return False
    return obvious(pattern[1:], words[1:])


@given(PATTERNS, WORDS)
def test_matches_as_defined(pattern: tuple[str, ...], words: tuple[str, ...]) -> None:
    assert topic_matches(pattern, words) == obvious(pattern, words)


@pytest.mark.parametrize(
    ("pattern", "key", "matches"),
    [
        ("lane.*", "lane.task", True),
        ("lane.*", "lane", False),
        ("lane.*", "lane.a.b", False),
        ("#.lane.*", "0.1.lane.task", True),
        ("#", "a.b", True),
        ("*.*.1.#", "0.1.1.x.y", True),
        ("*.*.1.#", "0.1.0.x.y", False),
    ],
)
def test_examples(pattern: str, key: str, matches: bool) -> None:
    assert topic_matches(tuple(pattern.split(".")), tuple(key.split("."))) is matches


def test_many_hashes_do_not_explode() -> None:
    pattern = ("#", "a") * 100 + ("b",)
    assert not topic_matches(pattern, ("a",) * 200)
