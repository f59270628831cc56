"""Events have the shape that their JSON Schema promises, and stable names."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from typing import Any

import pytest

from flask_metronome.core.event import (
    INCIDENT_FIELDS,
    RUN_FIELDS,
    incident_event,
    incident_routing_key,
    run_event,
    run_routing_key,
)
from flask_metronome.core.incident import IncidentState, Kind
from flask_metronome.core.notice import notice_of
from flask_metronome.core.run import FINAL

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
SCHEMA = json.loads(
    (files("flask_metronome") / "core" / "event.schema.json").read_text()
)
KINDS = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "array": list,
    "object": dict,
    "null": type(None),
}

RUN: dict[str, Any] = dict.fromkeys(RUN_FIELDS) | {
    "id": "r1",
    "schedule_key": "nightly.import",
    "origin": "auto",
    "due_at": NOW,
    "task": "shop.tick",
    "lane": "mail",
    "state": "failed",
    "missed_count": 0,
    "finished_at": NOW,
    "retries": 2,
}
INCIDENT: dict[str, Any] = dict.fromkeys(INCIDENT_FIELDS) | {
    "id": "i1",
    "schedule_key": "nightly.import",
    "lane": "mail",
    "kind": "missed",
    "state": "open",
    "cause": "scheduler_down",
    "opened_at": NOW,
    "bad_since": NOW - timedelta(minutes=12),
    "bad_count": 3,
    "happened": "no beat planned it",
}


def check(value: Any, schema: dict[str, Any], where: str = "$") -> None:
    """As much of JSON Schema as ours uses."""
    if "const" in schema:
        assert value == schema["const"], where
    if "enum" in schema:
        assert value in schema["enum"], where
    named = schema.get("type", [])
    kinds = [named] if isinstance(named, str) else named
    if kinds:
        assert isinstance(value, tuple(_flat(kinds))), (where, value)
    for name in schema.get("required", ()):
        assert name in value, f"{where}.{name}"
    for name, part in schema.get("properties", {}).items():
        if isinstance(value, dict) and name in value:
            check(value[name], part, f"{where}.{name}")


def _flat(kinds: list[str]) -> list[type]:
    found: list[type] = []
    for kind in kinds:
        known = KINDS[kind]
        found += known if isinstance(known, tuple) else (known,)
    return found


@pytest.mark.parametrize("state", sorted(FINAL))
def test_every_end_of_a_run_has_its_event(state: str) -> None:
    event = json.loads(json.dumps(run_event(RUN, state, NOW)))
    check(event, SCHEMA)
    check(event["data"], SCHEMA["$defs"]["run"])
    assert (event["type"], event["data"]["state"]) == (f"run.{state}", state)
    assert event["data"]["due_at"] == "2026-01-01T12:00:00.000000Z"


@pytest.mark.parametrize(
    "what", ["opened", "closed", "acknowledged", "reminder", "flapping"]
)
def test_every_turn_of_an_incident_has_its_event(what: str) -> None:
    event = incident_event(INCIDENT, what, NOW, more={"link": None})
    event = json.loads(json.dumps(event))
    check(event, SCHEMA)
    check(event["data"], SCHEMA["$defs"]["incident"])
    assert event["type"] == f"incident.{what}"


def test_the_schema_knows_every_state_and_kind() -> None:
    run, incident = SCHEMA["$defs"]["run"], SCHEMA["$defs"]["incident"]
    assert set(run["properties"]["state"]["enum"]) == set(FINAL)
    assert set(incident["properties"]["kind"]["enum"]) == set(Kind)
    assert set(incident["properties"]["state"]["enum"]) == set(IncidentState)
    assert set(run["required"]) == {"run", "schedule", *RUN_FIELDS}


def test_an_event_has_one_id_however_often_it_is_told() -> None:
    first = run_event(RUN, "failed", NOW)
    again = run_event(RUN, "failed", NOW + timedelta(hours=1))
    assert first["id"] == again["id"]
    later_end = RUN | {"finished_at": NOW + timedelta(hours=1)}
    assert run_event(later_end, "failed", NOW)["id"] != first["id"]
    # missed is said while the run is open, and not again when it ends
    still_open = run_event(RUN | {"finished_at": None}, "missed", NOW)
    assert still_open["id"] == run_event(RUN, "missed", NOW)["id"]
    turns = {
        incident_event(INCIDENT, "reminder", NOW, more={}, turn=turn)["id"]
        for turn in (1, 1, 2)
    }
    assert len(turns) == 2


def test_routing_keys_have_their_words_and_their_bound() -> None:
    assert run_routing_key("failed", "mail", "a.b") == "run.failed.mail.a:b"
    key = incident_routing_key("opened", "missed", "a.b")
    assert key == "incident.opened.missed.a:b"
    longest = run_routing_key("timed_out", "l" * 63, "k" * 190)
    assert len(longest.encode()) == 255
    assert longest.count(".") == 3


def test_a_notice_says_all_that_is_asked_of_it() -> None:
    notice = notice_of(INCIDENT, "opened", NOW, link="https://shop.example/i1")
    assert notice.title == "[Metronome] nightly.import was missed"
    for words in (
        "Was due: 2026-01-01 11:48:00 UTC",
        "Instead: no beat planned it",
        "Since: 2026-01-01 11:48:00 UTC, 12 min, 3 in a row",
        "Last good run: none known",
        "More: https://shop.example/i1",
    ):
        assert words in notice.text
    closed = notice_of(INCIDENT, "closed", NOW, link=None)
    assert closed.title.startswith("[Metronome] Good again: ")
    assert "after 12 min" in closed.text


def test_a_notice_of_many_names_some_of_them() -> None:
    many = INCIDENT | {"kind": "system", "schedule_key": None, "bad_count": 12}
    members = [f"s{number}" for number in range(12)]
    notice = notice_of(many, "opened", NOW, link=None, members=members)
    assert notice.title == "[Metronome] no beat plans what is due (12 schedules)"
    assert "s0, s1, s2, s3, s4, s5, s6, s7, s8, s9 and 2 more" in notice.text
