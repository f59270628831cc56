"""``Idempotency-Key``: a request that is sent again is not done again."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from flask_metronome.answers import Answers

KEY = {"Idempotency-Key": "42"}
EVERY = {"kind": "every", "every": 5, "unit": "minutes"}
NEW = {"key": "fresh", "task": "shop.report", "cadence": EVERY}
SPAN = {"after": "2026-06-01T10:00:00Z", "until": "2026-06-01T10:20:00Z"}

#: (path, body, another body)
POSTS = [
    ("/schedules", NEW, {**NEW, "key": "other"}),
    ("/schedules/report/trigger", {"kwargs": {"n": 1}}, {"kwargs": {"n": 2}}),
    ("/schedules/report/pause", {"reason": "x"}, {"reason": "y"}),
    ("/schedules/report/backfill", SPAN, {**SPAN, "name": "b"}),
    ("/mutes", {"scope": "*"}, {"scope": "lane:default"}),
]


@pytest.mark.parametrize(("path", "body", "other"), POSTS)
def test_the_same_request_has_the_same_answer_and_is_done_once(
    site: Any, path: str, body: Any, other: Any
) -> None:
    site.schedule("report")
    first = site.post(path, body, headers=KEY)
    done = site.get("/audit").json
    again = site.post(path, body, headers=KEY)
    refused = site.post(path, other, headers=KEY)

    assert first.status_code in (200, 201, 202), first.text
    assert (again.status_code, again.json) == (first.status_code, first.json)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first.headers
    for name in ("Location", "ETag", "Content-Type"):
        assert again.headers.get(name) == first.headers.get(name)
    assert refused.status_code == 422
    assert refused.json["errors"][0]["field"] == "Idempotency-Key"
    assert site.get("/audit").json == done


@pytest.mark.parametrize("action", ["rerun", "cancel"])
def test_a_run_is_run_again_or_cancelled_once(site: Any, action: str) -> None:
    site.schedule("report")
    state = "failed" if action == "rerun" else "planned"
    run = site.run("report", state=state)

    answers = [site.post(f"/runs/{run}/{action}", headers=KEY) for _ in range(3)]

    assert len({answer.text for answer in answers}) == 1
    assert answers[0].status_code == (202 if action == "rerun" else 200)


def test_a_failure_may_be_tried_again(site: Any) -> None:
    wrong = site.post("/schedules", {**NEW, "lane": "none"}, headers=KEY)
    right = site.post("/schedules", NEW, headers=KEY)

    assert (wrong.status_code, right.status_code) == (422, 201)


def test_a_key_belongs_to_its_path_and_lasts_a_day(site: Any) -> None:
    for key in ("a", "b"):
        site.schedule(key)
    runs = {
        site.post(f"/schedules/{key}/trigger", headers=KEY).json["id"] for key in "ab"
    }
    assert len(runs) == 2
    site.clock.moment += timedelta(days=1, seconds=1)
    later = site.post("/schedules/a/trigger", headers=KEY)

    assert "Idempotent-Replayed" not in later.headers
    # the run itself is guarded for as long as it is kept
    assert later.json["id"] in runs


def test_while_one_is_answered_the_same_waits(site: Any) -> None:
    site.schedule("report")
    path = "/metronome/api/v1/schedules/report/trigger"
    Answers(site.state).claim(path, "42", b"")

    busy = site.client.post(path, headers=KEY)
    site.clock.moment += timedelta(seconds=61)
    tried = site.client.post(path, headers=KEY)

    assert (busy.status_code, tried.status_code) == (409, 202)


def test_a_preview_reads_and_keeps_nothing(site: Any) -> None:
    asked = [
        site.post("/schedules/preview", {"cadence": EVERY, "count": n}, headers=KEY)
        for n in (1, 2)
    ]

    assert [answer.status_code for answer in asked] == [200, 200]
