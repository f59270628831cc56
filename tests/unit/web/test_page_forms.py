"""What people do from the pages: who may, what it does, what it says."""

from __future__ import annotations

import re
from typing import Any

import pytest

from flask_metronome.core.run import RunState

AWAY = {"REMOTE_ADDR": "203.0.113.9"}


class Visitor:
    """A browser in short: keeps its cookies, sends the forms of the page it is on."""

    def __init__(self, site: Any, **options: Any) -> None:
        self.client = site.app.test_client()
        self.options = options

    def get(self, path: str, **options: Any) -> Any:
        return self.client.get(f"/metronome{path}", **(self.options | options))

    def send(self, page: str, path: str, **fields: str) -> Any:
        """Send a form that ``page`` has, and follow to the page that comes."""
        text = self.get(page).text
        assert f'action="/metronome{path}"' in text
        form = text.partition(f'action="/metronome{path}"')[2].partition("</form>")[0]
        hidden = re.findall(r'type="hidden" name="(\w+)" value="([^"]+)"', form)
        answer = self.post(path, **dict(hidden), **fields)
        assert answer.status_code == 303, answer.text
        return self.client.get(answer.headers["Location"], **self.options)

    def post(self, path: str, **fields: str) -> Any:
        return self.client.post(f"/metronome{path}", data=fields, **self.options)


def said(page: Any) -> str:
    """What the page says came of the form."""
    found = re.search(r'class="flash (\w+)".*?<span>(.*?)</span>', page.text, re.S)
    assert found, page.text
    return f"{found[1]}: {found[2]}"


def state_of(site: Any, path: str) -> Any:
    return site.get(path).json["state"]


def test_a_schedule_is_paused_with_a_reason_and_resumed(site: Any) -> None:
    site.schedule("report")
    visitor = Visitor(site)

    page = visitor.send(
        "/schedules/report", "/schedules/report/pause", reason="ticket 7"
    )

    assert said(page).startswith("good: report is paused")
    assert "paused by page 127.0.0.1: ticket 7" in page.text
    assert state_of(site, "/schedules/report") == "paused"
    assert 'class="flash' not in visitor.get("/schedules/report").text
    page = visitor.send("/schedules/report", "/schedules/report/resume")
    assert said(page) == "good: report goes on with its next due time."
    assert state_of(site, "/schedules/report") == "active"


def test_a_schedule_runs_now_once_however_often_the_form_is_sent(site: Any) -> None:
    site.schedule("report")
    visitor = Visitor(site)
    page = visitor.send("/schedules/report", "/schedules/report/run")
    assert "this is its run" in said(page)

    text = visitor.get("/schedules/report").text
    form = text.partition("/schedules/report/run")[2]
    fields = dict(re.findall(r'name="(token|once)" value="(\w+)"', form)[:2])
    answers = [visitor.post("/schedules/report/run", **fields) for _ in range(2)]

    assert len({answer.headers["Location"] for answer in answers}) == 1
    runs = site.get("/runs?origin=manual").json["items"]
    assert len(runs) == 2


def test_a_run_is_cancelled_and_run_again(site: Any) -> None:
    site.schedule("report")
    run = site.run("report", state="published")
    visitor = Visitor(site)

    page = visitor.send(f"/runs/{run}", f"/runs/{run}/cancel")

    assert said(page) == "good: The run is cancelled."
    assert "Run again" in page.text
    page = visitor.send(f"/runs/{run}", f"/runs/{run}/rerun")
    assert "this is the new run" in said(page)
    assert site.get("/runs?origin=manual").json["items"][0]["state"] == "planned"


def test_what_came_too_late_is_said_on_the_same_page(site: Any) -> None:
    site.schedule("report")
    run = site.run("report", state=RunState.STARTED)
    visitor = Visitor(site)
    token = re.search(r'name="token" value="(\w+)"', visitor.get(f"/runs/{run}").text)
    assert token
    site.post(f"/runs/{run}/cancel")

    answer = visitor.post(f"/runs/{run}/cancel", token=token[1])

    assert answer.status_code == 303
    assert "had ended already" in said(visitor.get(f"/runs/{run}"))
    missing = visitor.post("/runs/nothing/cancel", token=token[1])
    assert missing.status_code == 404


def test_a_mute_is_made_and_ended(site: Any) -> None:
    site.schedule("report")
    visitor = Visitor(site)
    page = visitor.send(
        "/schedules/report", "/schedules/report/mute", span="8 hours", reason="moving"
    )

    assert said(page).startswith("good: Muted for 8 hours")
    (mute,) = site.get("/mutes").json["items"]
    assert (mute["scope"], mute["until_at"]) == (
        "schedule:report",
        "2026-06-01T20:00:00.000000Z",
    )
    page = visitor.send("/incidents", f"/mutes/{mute['id']}/end")
    assert "Nothing is muted" in page.text


def test_a_wrong_field_is_said_and_changes_nothing(site: Any) -> None:
    site.schedule("report")
    visitor = Visitor(site)

    page = visitor.send("/schedules/report", "/schedules/report/pause", reason="x\ty")

    assert said(page).startswith("bad: reason: expected a text")
    assert state_of(site, "/schedules/report") == "active"


def test_the_audit_names_who_sent_the_form(make_site: Any) -> None:
    site = make_site(api_token="s3cret")
    site.schedule("report")
    visitor = Visitor(site, auth=("maria", "s3cret"), environ_overrides=AWAY)

    page = visitor.send("/schedules/report", "/schedules/report/pause", reason="t 7")

    assert '<span class="who">maria</span> <span>paused it: <q>t 7</q>' in page.text


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_a_form_of_another_site_is_refused(site: Any, headers: dict[str, str]) -> None:
    site.schedule("report")
    visitor = Visitor(site)
    text = visitor.get("/schedules/report").text
    token = re.search(r'name="token" value="(\w+)"', text)
    assert token
    visitor.options = {"headers": headers}

    answer = visitor.post("/schedules/report/pause", token=token[1])

    assert answer.status_code == 403
    assert state_of(site, "/schedules/report") == "active"


@pytest.mark.parametrize("token", ["", "0" * 32, "ä"])
def test_a_form_without_the_token_of_its_browser_is_refused(
    site: Any, token: str
) -> None:
    site.schedule("report")
    visitor = Visitor(site)
    assert visitor.post("/schedules/report/pause", token=token).status_code == 403
    visitor.get("/schedules/report")

    answer = visitor.post("/schedules/report/pause", token=token)

    assert answer.status_code == 403
    assert "load the page again" in answer.text
    assert state_of(site, "/schedules/report") == "active"


PAGES = ("/schedules/report", "/runs/{run}", "/incidents", "/")
TARGETS = (
    "/schedules/report/run",
    "/schedules/report/pause",
    "/schedules/report/resume",
    "/schedules/report/mute",
    "/runs/{run}/cancel",
    "/runs/{run}/rerun",
    "/incidents/x/acknowledge",
    "/incidents/x/close",
    "/incidents/x/mute",
    "/mutes",
    "/mutes/x/end",
)


def test_who_may_not_write_is_offered_nothing_and_can_do_nothing(site: Any) -> None:
    site.schedule("report")
    run = site.run("report", state="published")
    near, far = Visitor(site), Visitor(site, environ_overrides=AWAY)
    token = re.search(r'name="token" value="(\w+)"', near.get(f"/runs/{run}").text)
    assert token
    far.client = near.client

    for page in PAGES:
        text = far.get(page.format(run=run)).text
        assert 'method="post"' not in text
        assert "<form" in near.get(page.format(run=run)).text
    for target in TARGETS:
        answer = far.post(target.format(run=run), token=token[1], span="1 day")
        assert answer.status_code == 403, target
        assert "METRONOME_API_TOKEN" in answer.text
    assert state_of(site, f"/runs/{run}") == "published"
    assert site.get("/audit").json["items"] == []


def test_with_a_token_nobody_writes_without_it(make_site: Any) -> None:
    site = make_site(api_token="s3cret")
    for target in TARGETS:
        answer = Visitor(site).post(target.format(run="x"))
        assert answer.status_code == 401
        assert "METRONOME_API_TOKEN" in answer.text


def test_the_host_apps_own_say_counts(site: Any) -> None:
    site.schedule("report")
    site.state.authorize = lambda request, write: not write
    visitor = Visitor(site)

    assert 'method="post"' not in visitor.get("/schedules/report").text
    assert visitor.post("/schedules/report/pause").status_code == 403


def test_a_refresh_in_the_background_leaves_what_is_to_be_said(site: Any) -> None:
    site.schedule("report")
    visitor = Visitor(site)
    token = re.search(
        r'name="token" value="(\w+)"', visitor.get("/schedules/report").text
    )
    assert token
    visitor.post("/schedules/report/pause", token=token[1])

    unread = visitor.get("/schedules/report", headers={"Metronome-Refresh": "1"})

    assert 'class="flash' not in unread.text
    assert "is paused" in said(visitor.get("/schedules/report"))


@pytest.mark.parametrize("cookie", ["x", "e30", "W10=", "bnVsbA==", "%ff"])
def test_a_cookie_that_somebody_made_up_says_nothing(site: Any, cookie: str) -> None:
    client = site.app.test_client()
    client.set_cookie("metronome_said", cookie, path="/metronome/")
    answer = client.get("/metronome/")
    assert answer.status_code == 200
    assert 'class="flash' not in answer.text
