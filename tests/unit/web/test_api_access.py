"""Who may read and write: token, this machine, other sites, the host's own login."""

from __future__ import annotations

from typing import Any

import pytest

BEARER = {"Authorization": "Bearer s3cret"}
PATHS = ["/api/v1/schedules", "/openapi.json", "/", "/runs", "/readyz"]


@pytest.mark.parametrize("path", PATHS)
def test_with_a_token_nothing_is_open_but_healthz(make_site: Any, path: str) -> None:
    site = make_site(api_token="s3cret")

    refused = site.page(path)

    assert refused.status_code == 401
    assert refused.headers["WWW-Authenticate"].lower().startswith("basic")
    assert site.page(path, headers={"Authorization": "Bearer wrong"}).status_code == 401
    assert site.page(path, headers={"Authorization": "Bearer"}).status_code == 401
    assert site.page(path, headers={"Authorization": "Bearer ä"}).status_code == 401
    assert site.page(path, headers=BEARER).status_code in (200, 503)
    assert site.page(path, auth=("anyone", "s3cret")).status_code in (200, 503)
    assert site.page("/healthz").status_code == 200


def test_with_a_token_writes_work_from_anywhere(make_site: Any) -> None:
    site = make_site(api_token="s3cret")
    site.schedule("report")
    away = {"REMOTE_ADDR": "203.0.113.9"}

    refused = site.post("/schedules/report/pause", environ_overrides=away)
    done = site.post(
        "/schedules/report/pause", environ_overrides=away, auth=("maria", "s3cret")
    )

    assert refused.status_code == 401
    assert done.json["paused_by"] == "maria"


@pytest.mark.parametrize(
    ("environ", "headers"),
    [
        ({"REMOTE_ADDR": "203.0.113.9"}, {}),
        ({"REMOTE_ADDR": ""}, {}),
        ({}, {"X-Forwarded-For": "203.0.113.9"}),
        ({}, {"X-Forwarded-Proto": "https"}),
        ({}, {"Via": "1.1 proxy"}),
        ({}, {"X-Forwarded": "for=203.0.113.9"}),
        ({}, {"X-Cluster-Client-Ip": "203.0.113.9"}),
        ({}, {"CF-Connecting-IP": "203.0.113.9"}),
        ({}, {"Host": "metronome.example"}),
    ],
)
def test_without_a_token_only_this_machine_writes(
    site: Any, environ: dict[str, str], headers: dict[str, str]
) -> None:
    site.schedule("report")

    found = site.post(
        "/schedules/report/pause", environ_overrides=environ, headers=headers
    )

    assert found.status_code == 403
    assert "METRONOME_API_TOKEN" in found.json["detail"]
    assert site.get("/schedules/report").json["state"] == "active"
    assert site.get("/schedules", environ_overrides=environ).status_code == 200


def test_a_preview_is_a_read(site: Any) -> None:
    found = site.post(
        "/schedules/preview",
        {"cadence": {"kind": "every", "every": 1}},
        environ_overrides={"REMOTE_ADDR": "203.0.113.9"},
    )

    assert found.status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_a_page_of_another_site_cannot_write(
    site: Any, headers: dict[str, str]
) -> None:
    site.schedule("report")

    found = site.post("/schedules/report/pause", headers=headers)

    assert found.status_code == 403
    assert site.get("/schedules/report").json["state"] == "active"


def test_a_page_of_our_own_can(site: Any) -> None:
    site.schedule("report")
    headers = {"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"}

    assert site.post("/schedules/report/pause", headers=headers).status_code == 200


def test_the_host_app_may_decide(site: Any) -> None:
    asked: list[tuple[str, bool]] = []

    def decide(request: Any, write: bool) -> bool:
        asked.append((request.path, write))
        return not write

    site.schedule("report")
    site.state.authorize = decide

    assert site.get("/schedules").status_code == 200
    assert site.post("/schedules/report/pause").status_code == 403
    assert asked == [
        ("/metronome/api/v1/schedules", False),
        ("/metronome/api/v1/schedules/report/pause", True),
    ]


def test_the_token_still_works_where_the_host_says_no(make_site: Any) -> None:
    site = make_site(api_token="s3cret")
    site.state.authorize = lambda request, write: False

    assert site.get("/schedules").status_code == 401
    assert site.get("/schedules", headers=BEARER).status_code == 200
