"""Records that wait for the database, on disk, bounded and in order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flask_metronome.spool import Outcome, Spool


class Database:
    """Takes records until it is told to be away."""

    def __init__(self) -> None:
        self.written: list[Any] = []
        self.room = 1_000_000

    def write(self, record: dict[str, Any], age_seconds: float) -> Outcome:
        assert 0 <= age_seconds < 60
        if len(self.written) >= self.room:
            return "later"
        self.written.append(record["n"])
        return "done"


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool", limit_bytes=1_000)


def test_records_come_back_in_order_and_once(spool: Spool) -> None:
    database = Database()
    for n in range(5):
        assert spool.append({"n": n})
    assert spool.is_waiting()
    assert spool.replay(database.write) == 5
    assert spool.replay(database.write) == 0
    assert database.written == [0, 1, 2, 3, 4]
    assert not spool.is_waiting()


def test_a_database_that_goes_away_again_gets_the_rest_later(spool: Spool) -> None:
    database = Database()
    database.room = 2
    for n in range(4):
        spool.append({"n": n})
    assert spool.replay(database.write) == 2
    spool.append({"n": 4})
    assert spool.replay(database.write) == 0
    database.room = 99
    assert spool.replay(database.write) == 3
    assert database.written == [0, 1, 2, 3, 4]


def test_a_full_spool_drops_and_counts(spool: Spool) -> None:
    kept = [spool.append({"n": n, "text": "x" * 100}) for n in range(12)]
    assert kept.count(True) == kept.index(False)
    assert spool.size() <= 1_000
    assert spool.take_dropped() == kept.count(False) > 0
    assert spool.take_dropped() == 0


def test_half_a_line_of_a_killed_process_is_passed_over(
    spool: Spool, tmp_path: Path
) -> None:
    spool.append({"n": 1})
    [file] = (tmp_path / "spool").glob("*.jsonl")
    with file.open("a") as broken:
        broken.write('{"spooled": 1, "rec')
    assert spool.append({"n": 2})
    database = Database()
    spool.replay(database.write)
    assert database.written == [1, 2]
    assert not spool.is_waiting()
    assert spool.take_dropped() == 1


def test_only_one_process_replays_at_a_time(spool: Spool) -> None:
    spool.append({"n": 1})
    inner: list[int] = []

    def write(record: dict[str, Any], age_seconds: float) -> Outcome:
        inner.append(spool.replay(lambda *_: "done"))
        return "done"

    assert spool.replay(write) == 1
    assert inner == [0]


def test_a_folder_that_cannot_be_made_drops(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert not Spool(tmp_path / "file" / "spool").append({"n": 1})


def test_a_folder_that_is_none_is_said_and_is_in_nobodys_way(tmp_path: Path) -> None:
    """Also one of another user: nothing may fail but the keeping itself."""
    spool = Spool(tmp_path / "spool")
    assert spool.complaint() is None
    (tmp_path / "spool").touch()
    assert "spool is no folder" in (spool.complaint() or "")
    assert not spool.append({"n": 1})
    assert (spool.is_waiting(), spool.waiting(), spool.size()) == (False, [], 0)
    assert spool.replay(Database().write) == 0
    assert spool.take_dropped() == 1


def test_a_folder_that_cannot_even_be_asked_for_is_said_quietly(tmp_path: Path) -> None:
    """As one below a folder that may not be entered: to ask for it is an error."""
    spool = Spool(tmp_path / ("x" * 300) / "spool")
    assert not spool.append({"n": 1})
    assert spool.complaint() is None, "the folder above is all right"


def test_an_empty_spool_makes_no_folder(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    assert not spool.is_waiting()
    assert spool.replay(Database().write) == 0
    assert not (tmp_path / "spool").exists()
