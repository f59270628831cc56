"""The pages as a browser without scripts gets them."""

from __future__ import annotations

import gzip
import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any

import pytest

from flask_metronome.broker_probe import BrokerSight
from flask_metronome.history.values import Bar
from flask_metronome.pages.strip import FLOOR, draw
from flask_metronome.pages.words import ago, duration, percent

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
VOID = {"meta", "link", "input", "img", "br", "rect", "path", "circle"}


class Balanced(HTMLParser):
    """Refuses what is opened and not closed, and ids that come twice."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.ids += [value for name, value in attrs if name == "id"]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def busy(site: Any) -> str:
    """A site with a bit of everything; the id of a failed run."""
    site.beat()
    site.worker()
    site.schedule("report", description="daily")
    site.schedule("paused", state="paused", paused_reason="ticket 7", next_due_at=None)
    site.schedule("odd", cadence={"kind": "moon"}, error="cannot be planned")
    site.run("report", ago=300, runtime_seconds=1.0, retries=1)
    missed = {"state": "missed", "missed": True, "reason": "scheduler_down"}
    site.run(
        "report", ago=200, **missed, missed_count=3, missed_from=NOW, missed_to=NOW
    )
    failed = site.run(
        "report",
        ago=100,
        state="failed",
        error="<script>alert(1)</script>",
        error_type="shop.Broken",
        retries=1,
        worker="celery@shop",
        planned_at=NOW - timedelta(seconds=99),
        started_at=NOW - timedelta(seconds=50),
        finished_at=NOW - timedelta(seconds=40),
    )
    for retries, state in enumerate(("retried", "failed")):
        site.attempt(
            failed,
            retries,
            state=state,
            ended_at=NOW - timedelta(seconds=49.5 - retries),
            traceback="Traceback\n  <b>",
        )
    return str(failed)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/runs",
        "/schedules/report",
        "/schedules/nothing",
        "/coming",
        "/system",
        "/incidents",
    ],
)
def test_every_page_is_whole_and_takes_nothing_from_elsewhere(
    site: Any, path: str
) -> None:
    busy(site)

    found = site.page(path)

    parser = Balanced()
    parser.feed(found.text)
    assert parser.open == []
    assert len(parser.ids) == len(set(parser.ids))
    assert not re.search(r"""(?:src|href)=["'](?:https?:)?//""", found.text)
    assert " style=" not in found.text
    assert "<script>" not in found.text
    assert "default-src 'none'" in found.headers["Content-Security-Policy"]


def test_the_first_page_says_how_things_stand(site: Any) -> None:
    busy(site)

    text = site.page().text

    assert "every 5 minutes" in text
    assert "not understood" in text
    assert "ticket 7" in text
    assert "no beat was running" in text
    assert "shop.Broken" not in text
    assert "Broken: &lt;script&gt;" in text
    assert '<meta http-equiv="refresh" content="5">' in text


def test_the_verdict_names_the_worst_first(site: Any) -> None:
    assert "No schedule yet" in site.page().text
    site.schedule("report")
    assert "No beat is running" in site.page().text
    site.beat()
    assert "The broker does not answer" in site.page().text


def test_a_long_page_is_sent_compressed_unless_it_holds_a_forms_token(
    site: Any,
) -> None:
    for number in range(5):
        site.schedule(f"report-{number}")
        for seconds in range(60):
            site.run(f"report-{number}", ago=seconds)
    plain = site.page()
    packed = site.page(headers={"Accept-Encoding": "br, gzip"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert "Accept-Encoding" in packed.headers["Vary"]
    assert packed.content_length == len(packed.data) < len(plain.data) / 6
    assert "report-4</a>" in gzip.decompress(packed.data).decode()
    assert "Content-Encoding" not in plain.headers
    refused = site.page(headers={"Accept-Encoding": "gzip;q=0"})
    assert "Content-Encoding" not in refused.headers

    # a length beside text of the caller's choice must not tell of the token
    local = {
        "environ_base": {"REMOTE_ADDR": "127.0.0.1"},
        "base_url": "http://localhost",
    }
    client = site.client
    for _ in range(2):
        with_form = client.get(
            "/metronome/schedules/report-1",
            headers={"Accept-Encoding": "gzip"},
            **local,
        )
        assert 'name="token"' in with_form.text
        assert len(with_form.data) > 8192
        assert "Content-Encoding" not in with_form.headers


def test_nothing_is_called_well_that_nobody_watches(
    site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answers(*_: Any) -> BrokerSight:
        return BrokerSight(error=None)

    monkeypatch.setattr("flask_metronome.pages.now.see_broker", answers)
    site.beat()
    site.worker()
    site.schedule("report")
    assert '<h1 class="warn">' in site.page().text
    assert "No monitor is watching</h1>" in site.page().text

    site.watched()
    assert "Everything is on time" in site.page().text
    assert "No monitor" not in site.page().text

    # what is known to be wrong comes first
    site.run("report", state="failed")
    site.clock.tick(10)
    page = site.page().text
    assert "1 of 1 schedule needs a look</h1>" in page
    assert "<strong>No monitor is watching:</strong>" in page


def test_a_schedules_page_shows_what_comes_and_what_was(site: Any) -> None:
    busy(site)

    text = site.page("/schedules/report").text

    assert text.count("countdown") == 10
    assert "daily" in text
    assert "missed" in text
    assert "None while the schedule is paused." in site.page("/schedules/paused").text
    assert "expected one of" in site.page("/schedules/odd").text


def test_a_runs_page_shows_its_life(site: Any) -> None:
    failed = busy(site)

    text = site.page(f"/runs/{failed}").text

    for phrase in ("until a beat planned it", "waits to retry", "attempt 2"):
        assert phrase in text
    assert "Traceback\n  &lt;b&gt;" in text
    assert "in Flower" not in text


def test_a_run_links_to_flower_where_it_is_known(make_site: Any) -> None:
    site = make_site(flower_url="http://flower.example/")
    failed = busy(site)

    assert (
        f'href="/metronome/flower/task/{failed}"' in site.page(f"/runs/{failed}").text
    )


def test_runs_are_filtered_by_a_form(site: Any) -> None:
    busy(site)

    text = site.page("/runs?schedule=&state=failed&flag=&lane=&task=").text

    assert text.count("<tr>") == 2
    assert "Broken" in text
    older = site.page("/runs?limit=1&state=").text
    assert re.search(r'href="/metronome/runs\?limit=1&amp;cursor=[\w-]+"', older)


def test_what_is_wrong_is_said_in_one_sentence(site: Any) -> None:
    missing = site.page("/schedules/nothing")
    wrong = site.page("/runs?state=sad")

    assert (missing.status_code, wrong.status_code) == (404, 422)
    assert "There is no schedule" in missing.text
    assert "state: expected one or more of planned" in wrong.text


def bar(**values: Any) -> Bar:
    defaults: dict[str, Any] = {
        "id": "x",
        "schedule_id": "s",
        "due_at": NOW,
        "state": "succeeded",
        "reason": None,
        "missed": False,
        "missed_count": 0,
        "late": False,
        "retries": 0,
        "started_at": None,
        "runtime_seconds": 1.0,
    }
    return Bar(**(defaults | values))


def test_a_strip_is_filled_from_the_right_with_blanks_before() -> None:
    drawn = draw([bar(), bar()], NOW, length=5)

    assert len(drawn.blanks) == 3
    assert [b.x for b in drawn.bars] == [21, 28]
    assert drawn.summary == "Last 2 runs: 2 succeeded"


def test_heights_follow_durations_and_stand_on_the_floor() -> None:
    drawn = draw([bar(runtime_seconds=s) for s in (0, 1, 4)], NOW)
    heights = [b.height for b in drawn.bars]

    assert heights == sorted(heights)
    assert len(set(heights)) == 3
    assert all(b.y + b.height == pytest.approx(FLOOR, abs=0.06) for b in drawn.bars)


@pytest.mark.parametrize(
    ("values", "mark", "tone"),
    [
        ({"state": "failed"}, "cross", "bad"),
        ({"state": "missed", "missed": True}, "ring", "missed"),
        ({"missed": True}, "ring", "good"),
        ({"retries": 1}, "dot", "good"),
        ({"state": "skipped"}, None, "quiet"),
        ({"state": "published"}, None, "open"),
        ({"state": "started", "started_at": NOW}, None, "busy"),
    ],
)
def test_each_state_has_a_mark_or_a_shape_of_its_own(
    values: dict[str, Any], mark: str | None, tone: str
) -> None:
    (drawn,) = draw([bar(**values)], NOW).bars

    assert (drawn.mark, drawn.tone) == (mark, tone)


def test_durations_in_words() -> None:
    said = [duration(s) for s in (None, 0.0124, 5, 12.34, 60, 260, 11_100, 187_200)]
    assert said == [
        "–",
        "12 ms",
        "5 s",
        "12.3 s",
        "1 min",
        "4 min 20 s",
        "3 h 5 min",
        "2 d 4 h",
    ]


def test_shares_are_never_rounded_up_to_all() -> None:
    assert [percent(s) for s in (1, 0.9999, 0.5, None)] == [
        "100 %",
        "99.9 %",
        "50 %",
        "–",
    ]


def test_distances_in_words() -> None:
    spans = (0, 12, -12, 300, -7200, 864_000)
    assert [ago(NOW + timedelta(seconds=s), NOW) for s in spans] == [
        "now",
        "in 12 s",
        "12 s ago",
        "in 5 min",
        "2 h ago",
        "in 10 d",
    ]
