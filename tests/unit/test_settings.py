"""What a wrong value says: the setting, what was expected, and no password."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flask_metronome.database import Database, sync_url
from flask_metronome.errors import DatabaseUnreachable, SettingInvalid
from flask_metronome.settings import Settings, read_settings


def read(**given: Any) -> Settings:
    config = {f"METRONOME_{name}": value for name, value in given.items()}
    return read_settings(config, instance_path="/nowhere", environ={})


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("BROKER_URL", "rabbit", "amqp://"),
        ("BROKER_URL", "redis://me:s3cret@host/0", "amqp://"),
        ("BROKER_URL", "amqp://me:s3cret@host:port/", "amqp://"),
        ("BROKER_URL", "amqp://me:s3/cret@host/", "amqp://"),
        ("BROKER_URL", "amqp://host;memory://", "amqp://"),
        ("BROKER_API_URL", "rabbit:15672", "http://"),
        ("BROKER_API_URL", "ftp://me:s3cret@host/api/", "http://"),
        ("PUBLIC_URL", "shop.example", "https://shop.example"),
        ("PUBLIC_URL", "https://me:s3cret@shop.example", "https://shop.example"),
        ("FLOWER_URL", "http://flower:x", "http://flower:5555"),
        ("LANES", "mail, big reports", "a lane name"),
        ("LANES", "dead", "not dead"),
        ("DEFAULT_LANE", "Mail", "a lane name"),
        ("URL_PREFIX", "metronome", "a path"),
        ("TIMEZONE", "Mars/Olympus", "an IANA time zone"),
        ("CATCHUP", "maybe", "one of latest"),
    ],
)
def test_a_wrong_value_is_one_sentence_that_names_the_setting(
    name: str, value: str, expected: str
) -> None:
    with pytest.raises(SettingInvalid, match=expected) as wrong:
        read(**{name: value})
    assert str(wrong.value).startswith(f"METRONOME_{name}: expected ")
    assert "s3" not in str(wrong.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BROKER_URL", "amqp://"),
        ("BROKER_URL", "amqps://me:s3cret@host/shop"),
        ("BROKER_URL", "pyamqp://me@[::1]:5672//"),
        ("BROKER_URL", "amqp://one//;amqp://two//"),
        ("BROKER_API_URL", "http://me:s3cret@rabbit:15672/api/"),
        ("PUBLIC_URL", "https://shop.example/behind/"),
        ("LANES", "mail,reports-2"),
    ],
)
def test_a_right_value_is_taken_as_it_is(name: str, value: str) -> None:
    found = getattr(read(**{name: value}), name.lower())
    assert found == value or ",".join(found) == value


def test_a_port_of_the_database_that_is_no_number() -> None:
    with pytest.raises(SettingInvalid, match="METRONOME_DATABASE_URL") as wrong:
        sync_url("postgresql://me:s3cret@host:port/shop")
    assert "s3cret" not in str(wrong.value)


def test_a_folder_that_cannot_be_made_is_a_database_that_does_not_answer(
    tmp_path: Path,
) -> None:
    (tmp_path / "file").write_text("in the way")
    database = Database(f"sqlite:///{tmp_path}/file/metronome.sqlite")
    with pytest.raises(DatabaseUnreachable, match="File exists"), database.begin():
        pass
