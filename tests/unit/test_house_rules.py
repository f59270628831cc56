"""What a reader of this tree may count on, beyond what the linters check."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import flask_metronome

ROOT = Path(__file__).parents[2]
SOURCES = sorted(
    path
    for root in ("project", "broker", "monitoring")
    for path in (ROOT / root).rglob("*.py")
)
MOST_LINES = 400
#: A test file is read a test at a time.
MOST_TEST_LINES = 450

#: Calls that read the host's clock. Due times are decided by the database's.
CLOCK_READS = {
    "datetime.now",
    "datetime.utcnow",
    "datetime.today",
    "date.today",
    "time.time",
    "time.time_ns",
}
#: Who may read it all the same, and what for.
CLOCK_READERS = {
    "broker/metronome_broker/embedded/message.py": "a broker stamps its messages",
    "project/flask_metronome/cli/doctor.py": "how far it is from the database's",
    "project/flask_metronome/cli/log_stream.py": "the time in front of a log line",
    "project/flask_metronome/spool.py": "names of files, in the order of writing",
    "project/flask_metronome/demo/chores.py": "the shop's own data",
    "project/flask_metronome/demo/shop.py": "the shop's own data",
}


def clock_reads(source: str) -> Iterator[str]:
    """The clock calls in a piece of Python, as ``line: call``."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute):
            name = ".".join(ast.unparse(node).split(".")[-2:])
            if name in CLOCK_READS:
                yield f"{node.lineno}: {name}"


def test_only_listed_files_read_the_hosts_clock() -> None:
    readers = {
        str(path.relative_to(ROOT))
        for path in SOURCES
        if any(clock_reads(path.read_text()))
    }
    assert readers == set(CLOCK_READERS)


@pytest.mark.parametrize(
    "source",
    ["datetime.now(UTC)", "datetime.datetime.now()", "time.time()", "f = time.time_ns"],
)
def test_a_read_of_the_hosts_clock_is_seen(source: str) -> None:
    assert list(clock_reads(source))


def test_measuring_and_parsing_are_no_reads_of_the_clock() -> None:
    assert not list(clock_reads("time.monotonic(); datetime.fromisoformat(x)"))


def test_no_file_is_longer_than_a_reader_can_hold() -> None:
    tests = sorted((ROOT / "tests").rglob("*.py"))
    lines = {
        path: len(path.read_text().splitlines())
        for path in SOURCES + tests
        # a migration is written once and never changed
        if "migrations" not in path.parts
    }
    assert [
        f"{path.relative_to(ROOT)}: {n}"
        for path, n in lines.items()
        if n > (MOST_TEST_LINES if path in tests else MOST_LINES)
    ] == []


def test_every_public_name_exists_and_is_documented() -> None:
    readme = (ROOT / "README.md").read_text()
    words = set(
        re.findall(r"\w+", " ".join(re.findall(r"`[^`]+`|```.*?```", readme, re.S)))
    )
    for name in flask_metronome.__all__:
        public = getattr(flask_metronome, name)
        assert name in words, f"README.md does not show {name}"
        if callable(public):
            assert public.__doc__, f"{name} has no docstring"


def test_every_file_says_what_it_is_for() -> None:
    mute = [
        str(path.relative_to(ROOT))
        for path in SOURCES
        if path.read_text().strip()
        and not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert mute == []


def test_every_setting_is_in_the_one_table() -> None:
    from dataclasses import fields

    from flask_metronome import settings

    table = settings.__doc__ or ""
    for field in fields(settings.Settings):
        assert f"``{field.name.upper()}``" in table, field.name
