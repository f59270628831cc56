"""Bad input: 422 with the field, what was expected and what came; nothing written."""

from __future__ import annotations

from typing import Any

import pytest

EVERY = {"kind": "every", "every": 5, "unit": "minutes"}
GOOD = {"key": "report", "task": "shop.report", "cadence": EVERY}

#: (a field of a schedule made wrong, the field that the problem names)
SCHEDULES: list[tuple[dict[str, Any], str]] = [
    ({"task": "shop.unknown"}, "task"),
    ({"task": ""}, "task"),
    ({"lane": "unknown"}, "lane"),
    ({"lane": "Not A Lane"}, "lane"),
    ({"key": "with space"}, "key"),
    ({"key": ""}, "key"),
    ({"cadence": None}, "cadence"),
    ({"cadence": "5 minutes"}, "cadence"),
    ({"cadence": {"kind": "moon"}}, "kind"),
    ({"cadence": {"kind": "cron", "expression": "0 25 * * *"}}, "expression"),
    ({"cadence": {"kind": "cron", "expression": "0 0 30 2 *"}}, "expression"),
    ({"cadence": {"kind": "cron", "expression": "@daily", "tz": "Mars/Base"}}, "tz"),
    ({"cadence": {"kind": "every", "every": 0}}, "every"),
    ({"cadence": {"kind": "every", "every": 1, "unit": "moons"}}, "unit"),
    ({"cadence": {"kind": "every", "every": 1, "extra": 1}}, "extra"),
    ({"cadence": {"kind": "solar", "event": ["dawn"], "lat": 1, "lon": 2}}, "event"),
    (
        {
            "cadence": {
                "kind": "rrule",
                "rule": "FREQ=DAILY",
                "start": "0001-01-01T00:00:00+14:00",
            }
        },
        "start",
    ),
    ({"catchup": "sometimes"}, "catchup"),
    ({"overlap": "sometimes"}, "overlap"),
    ({"on_lost": "cry"}, "on_lost"),
    ({"max_runs": 0}, "max_runs"),
    ({"max_runs": True}, "max_runs"),
    ({"grace_seconds": -1}, "grace_seconds"),
    ({"grace_seconds": "1"}, "grace_seconds"),
    ({"jitter_seconds": -1}, "jitter_seconds"),
    ({"start_at": "tomorrow"}, "start_at"),
    ({"start_at": "2026-06-01T12:00:00"}, "start_at"),
    ({"start_at": "2026-06-02T00:00:00Z", "end_at": "2026-06-01T00:00:00Z"}, "end_at"),
    ({"args": "text"}, "args"),
    ({"kwargs": []}, "kwargs"),
    ({"options": {"retry": True}}, "options"),
    ({"intervall": 5}, "intervall"),
    ({"max_runs": 2**31}, "max_runs"),
    ({"catchup_limit": 2**40}, "catchup_limit"),
    ({"catchup_limit": 10_001}, "catchup_limit"),
    ({"jitter_seconds": 10**400}, "jitter_seconds"),
    ({"start_at": "9999-12-31T23:59:59Z"}, "start_at"),
    ({"concurrency_key": "x" * 191}, "concurrency_key"),
    ({"description": 5}, "description"),
    ({"cadence": {"kind": "every", "every": 1e308, "unit": "days"}}, "every"),
    ({"cadence": {"kind": "every", "every": 10**400}}, "every"),
    ({"options": {"priority": 10**30}}, "options.priority"),
    ({"options": {"headers": "x"}}, "options.headers"),
    ({"options": {"time_limit": -1}}, "options.time_limit"),
    # what no database keeps
    ({"kwargs": {"x": float("nan")}}, "kwargs"),
    ({"kwargs": {"x": [float("inf")]}}, "kwargs"),
    ({"kwargs": {"x": "\ud800"}}, "kwargs"),
    ({"kwargs": {"a\0": 1}}, "kwargs"),
    ({"args": ["a\0"]}, "args"),
    ({"description": "\0"}, "description"),
]


@pytest.mark.parametrize(("wrong", "field"), SCHEDULES)
def test_a_wrong_schedule_names_its_field_and_is_not_written(
    site: Any, wrong: dict[str, Any], field: str
) -> None:
    found = site.post("/schedules", {**GOOD, **wrong})

    assert found.status_code == 422
    assert found.content_type == "application/problem+json"
    (error,) = found.json["errors"]
    assert error["field"] == field
    assert error["expected"]
    assert "got" in error
    assert found.json["detail"] == error["message"]
    assert "\n" not in error["message"]
    assert site.get("/schedules").json["items"] == []
    assert site.get("/audit").json["items"] == []


@pytest.mark.parametrize(("wrong", "field"), SCHEDULES)
def test_a_wrong_change_leaves_the_schedule_as_it_was(
    site: Any, wrong: dict[str, Any], field: str
) -> None:
    before = site.post("/schedules", GOOD).json

    found = site.client.patch("/metronome/api/v1/schedules/report", json=wrong)

    assert found.status_code == 422
    assert found.json["errors"][0]["field"] == field
    assert site.get("/schedules/report").json == before


QUERIES = [
    ("/runs?limit=0", "limit"),
    ("/runs?limit=201", "limit"),
    ("/runs?limit=five", "limit"),
    ("/runs?limit=1e3", "limit"),
    ("/runs?limit=%C2%B2", "limit"),
    ("/runs?cursor=nonsense", "cursor"),
    ("/runs?cursor=", "cursor"),
    ("/runs?state=sad", "state"),
    ("/runs?state=failed,sad", "state"),
    ("/runs?flag=red", "flag"),
    ("/runs?due_after=yesterday", "due_after"),
    ("/runs?due_after=2026-06-01T12:00:00", "due_after"),
    ("/runs?due_before=0001-01-01T00:00:00%2B14:00", "due_before"),
    ("/runs?schedule=%00", "schedule"),
    ("/runs?colour=red", "colour"),
    ("/runs/x?colour=red", "colour"),
    ("/schedules?enabled=maybe", "enabled"),
    ("/schedules?state=asleep", "state"),
    ("/schedules?page=2", "page"),
    ("/schedules/report?page=2", "page"),
    ("/schedules/report/runs?lane=mail", "lane"),
    ("/schedules/report/upcoming?limit=999", "limit"),
    ("/schedules/report/upcoming?after=now", "after"),
    ("/schedules/report/stats?window=2y", "window"),
    ("/stats?window=", "window"),
    ("/audit?limit=-1", "limit"),
    ("/beats?x=1", "x"),
]


@pytest.mark.parametrize(("path", "field"), QUERIES)
def test_a_wrong_query_names_its_parameter(site: Any, path: str, field: str) -> None:
    site.schedule("report")

    found = site.get(path)

    assert found.status_code == 422
    assert [error["field"] for error in found.json["errors"]] == [field]


def test_all_wrong_parameters_are_named_at_once(site: Any) -> None:
    found = site.get("/runs?limit=0&colour=red&state=sad").json

    assert {error["field"] for error in found["errors"]} == {"limit", "colour", "state"}


BODIES = [
    ("/schedules/report/pause", {"why": "x"}, "why"),
    ("/schedules/report/pause", {"reason": 7}, "reason"),
    ("/schedules/report/resume", {"now": True}, "now"),
    ("/schedules/report/trigger", {"arguments": []}, "arguments"),
    ("/schedules/report/trigger", {"args": {}}, "args"),
    ("/schedules/report/trigger", {"kwargs": []}, "kwargs"),
    ("/schedules/report/trigger", ["kwargs"], "body"),
    ("/schedules/report/backfill", {"after": "2026-06-01T10:00:00Z"}, "until"),
    (
        "/schedules/report/backfill",
        {"after": "2026-06-01T10:00:00Z", "until": "2026-06-01T09:00:00Z"},
        "until",
    ),
    ("/schedules/preview", {"cadence": EVERY, "count": 0}, "count"),
    ("/schedules/preview", {"cadence": EVERY, "count": 10**30}, "count"),
    ("/schedules/preview", {"cadence": EVERY, "after": 5}, "after"),
    ("/schedules/preview", {}, "cadence"),
    ("/schedules/report/trigger", {"args": [float("nan")]}, "args"),
    ("/schedules/report/trigger", {"kwargs": {"x": "\ud800"}}, "kwargs"),
    ("/schedules/report/pause", {"reason": "\0"}, "reason"),
    ("/mutes", {"scope": "*\0"}, "scope"),
]


@pytest.mark.parametrize(("path", "body", "field"), BODIES)
def test_a_wrong_body_names_its_field(
    site: Any, path: str, body: Any, field: str
) -> None:
    site.schedule("report")

    found = site.post(path, body)

    assert found.status_code == 422
    assert [error["field"] for error in found.json["errors"]] == [field]
    assert site.get("/runs").json["items"] == []


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [("rate_per_second", "fast", "a number"), ("in_flight", "some", "a whole number")],
)
def test_a_number_is_said_to_be_expected(
    site: Any, field: str, value: str, expected: str
) -> None:
    site.schedule("report")
    span = {"after": "2026-06-01T08:00:00Z", "until": "2026-06-01T09:00:00Z"}
    found = site.post("/schedules/report/backfill", {**span, field: value})
    (error,) = found.json["errors"]
    assert (error["field"], error["expected"]) == (field, expected)


def test_a_body_that_is_no_json(site: Any) -> None:
    options = {"data": b"{nope", "content_type": "application/json"}
    found = site.client.post("/metronome/api/v1/schedules", **options)

    assert found.status_code == 422
    assert found.json["errors"][0]["field"] == "body"


@pytest.mark.parametrize(
    "raw",
    [
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"args":' + b"[" * 60 + b"]" * 60 + b"}",
        b'{"args": [' + b"9" * 5000 + b"]}",
    ],
    ids=["no text", "no end", "deep", "long number"],
)
def test_a_body_that_cannot_be_read(site: Any, raw: bytes) -> None:
    site.schedule("report")
    options = {"data": raw, "content_type": "application/json"}
    found = site.client.post("/metronome/api/v1/schedules/report/trigger", **options)

    assert found.status_code == 422
    assert found.json["errors"][0]["field"] in ("body", "args")
    assert site.get("/runs").json["items"] == []


def test_a_huge_body_is_refused(site: Any) -> None:
    site.schedule("report")
    found = site.post("/schedules/report/trigger", {"args": ["x" * 1_100_000]})

    assert found.status_code == 413
    assert found.content_type == "application/problem+json"


@pytest.mark.parametrize("path", ["/runs/%00", "/schedules/a%00b/runs", "/runs/%00/x"])
def test_a_name_that_nothing_can_have_is_404(site: Any, path: str) -> None:
    found = site.get(path)

    assert found.status_code == 404
    assert found.content_type == "application/problem+json"


def test_a_body_of_a_form_is_refused(site: Any) -> None:
    found = site.client.post("/metronome/api/v1/schedules", data={"key": "x"})

    assert found.status_code == 415
    assert "application/json" in found.json["detail"]


@pytest.mark.parametrize("header", ["Idempotency-Key", "If-Match"])
def test_a_wrong_header_is_named(site: Any, header: str) -> None:
    site.schedule("report")
    headers = {header: "ä b"}
    if header == "If-Match":
        found = site.client.patch(
            "/metronome/api/v1/schedules/report", json={}, headers=headers
        )
    else:
        found = site.post("/schedules/report/trigger", headers=headers)

    assert found.status_code == 422
    assert found.json["errors"][0]["field"] == header


def test_the_key_of_the_url_cannot_be_changed(site: Any) -> None:
    site.schedule("report")

    found = site.client.put(
        "/metronome/api/v1/schedules/report", json={**GOOD, "key": "other"}
    )

    assert found.status_code == 422
    assert found.json["errors"][0]["field"] == "key"


def test_another_method_is_405_and_says_which_would_be_right(site: Any) -> None:
    found = site.client.delete("/metronome/api/v1/runs")

    assert found.status_code == 405
    assert found.headers["Allow"] == "GET"
    assert found.content_type == "application/problem+json"


def test_options_names_what_a_path_takes_and_opens_it_to_no_other_site(
    site: Any,
) -> None:
    headers = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
    found = site.client.options("/metronome/api/v1/schedules", headers=headers)
    read = site.get("/schedules", headers=headers)

    assert found.headers["Allow"] == "GET, POST"
    for answer in (found, read):
        assert not [name for name, _ in answer.headers if name.startswith("Access-")]
    assert site.client.head("/metronome/api/v1/schedules").status_code == 200
