"""What each page says: on nothing at all, on much, and on what is odd."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event

from flask_metronome.models import audit, incidents, leases, messages, results

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
PAGES = ("/", "/coming", "/runs", "/incidents", "/system")


@pytest.mark.parametrize(
    ("path", "advice"),
    [
        ("/", "flask metronome schedules add"),
        ("/coming", "Nothing is due in this span."),
        ("/runs", "the first one comes with the first due time"),
        ("/incidents", "flask metronome notify test"),
        ("/system", "celery -A your_app beat"),
    ],
)
def test_on_an_empty_database_a_page_says_what_to_do(
    site: Any, path: str, advice: str
) -> None:
    page = site.page(path)

    assert page.status_code == 200
    assert advice in page.text


@pytest.mark.parametrize("path", PAGES)
def test_without_a_database_a_plain_page_says_so(make_site: Any, path: str) -> None:
    # nobody listens on port 1
    away = "postgresql+psycopg://shop:s3cret@127.0.0.1:1/shop"
    page = make_site(database_url=away).page(path)

    assert page.status_code == 503
    assert page.headers["Retry-After"] == "2"
    assert "The database does not answer" in page.text
    assert 'http-equiv="refresh"' in page.text
    assert "s3cret" not in page.text


def test_what_is_wrong_beyond_the_first_page_is_seen(site: Any) -> None:
    for number in range(53):
        site.schedule(f"s{number:03}")
    site.beat()
    site.run("s052", state="failed", error="boom")
    site.run("s051", state="failed")
    site.run("s051", ago=30)
    site.run("s000", ago=30, state="skipped", reason="overlap")

    text = site.page().text

    assert text.count('class="c-key"') == 50
    assert "1 of 53 schedules needs a look" in text
    assert '<a href="/metronome/schedules/s052">s052</a>' in text
    look = site.page("/?show=look").text
    assert look.count('class="c-key"') == 1
    assert "s052" in look


def test_the_first_page_costs_as_much_for_many_schedules(site: Any) -> None:
    asked: list[str] = []

    async def listen() -> None:
        engine = site.state.loop.engine.sync_engine
        event.listen(engine, "before_cursor_execute", lambda *a: asked.append(a[2]))

    site.state.loop.run(listen())
    site.schedule("first")
    site.page()
    few = len(asked)
    for number in range(30):
        site.schedule(f"s{number:03}")
    asked.clear()
    site.page()

    assert len(asked) == few
    assert few < 20


def test_schedules_are_picked_by_lane_and_state(site: Any) -> None:
    site.schedule("a")
    site.schedule("b", lane="mail")
    site.schedule("c", state="paused", next_due_at=None)

    assert site.page("/?lane=mail").text.count('class="c-key"') == 1
    assert site.page("/?show=paused").text.count('class="c-key"') == 1
    assert "No schedule fits" in site.page("/?lane=mail&show=paused").text
    assert site.page("/?show=odd").status_code == 422


def test_what_comes_is_listed_in_order_and_what_comes_often_is_named(
    site: Any,
) -> None:
    daily = {"kind": "cron", "expression": "0 9 * * *", "tz": "Europe/Berlin"}
    site.schedule("daily", cadence=daily, next_due_at=NOW + timedelta(hours=19))
    twice = {"kind": "every", "every": 12, "unit": "hours"}
    site.schedule("twice", cadence=twice, next_due_at=NOW + timedelta(hours=12))
    site.schedule("often")
    site.schedule("odd", cadence={"kind": "moon"})

    text = site.page("/coming").text

    often, _, one_by_one = text.partition("One by one")
    assert "often</a>" in often
    assert "09:00:00 CEST" in one_by_one
    at = [one_by_one.index(word) for word in ("2026-06-02 00:00", "2026-06-02 07:00")]
    assert at == sorted(at)
    assert "Nothing else is due" in site.page("/coming?span=6h").text


def test_a_page_of_what_comes_is_bounded_and_says_so(
    site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(30):
        site.schedule(f"often-{number:02}")
    daily = {"kind": "cron", "expression": "0 8 * * *"}
    site.schedule("daily", cadence=daily, next_due_at=NOW + timedelta(hours=20))

    text = site.page("/coming").text
    first, _, rest = text.partition("<summary>and 6 more</summary>")
    assert ("often-23</a>" in first, "often-24</a>" in first) == (True, False)
    assert "often-29</a>" in rest
    assert "daily</a>" in rest
    assert "are looked at here" not in text

    monkeypatch.setattr("flask_metronome.pages.coming._SCHEDULES", 30)
    text = site.page("/coming").text
    assert "daily</a>" not in text
    assert "Only the 30 schedules that are due soonest are looked at here" in text


def test_a_schedules_policies_are_said_in_sentences(site: Any) -> None:
    site.schedule(
        "report",
        catchup="all",
        overlap="queue_one",
        concurrency_key="warehouse",
        on_lost="rerun",
        grace_seconds=90.0,
        start_deadline_seconds=600.0,
        max_runtime_seconds=60.0,
        bad_in_a_row=3,
        max_runs=7,
        kwargs={"password": "hunter2", "sku": 7},
    )
    site.write(
        audit,
        at=NOW,
        who="maria",
        action="schedule.edit",
        subject="report",
        detail={"lane": ["a", "b"], "kwargs": [{"password": "old"}, {}]},
    )

    text = site.page("/schedules/report").text

    for words in (
        "each is made up for, at most 100 within 1 d",
        "the newest one waits for it (all runs of «warehouse» count as one)",
        "another worker runs it again",
        "missed 1 min 30 s after the due time; late a tenth",
        "not started any more 10 min after it",
        "overrun after 1 min",
        "opens after 3 bad runs in a row, closes after 1 good run",
        "0 of at most 7 runs made",
        "changed it: <q>lane, kwargs</q>",
    ):
        assert words in text
    assert "hunter2" not in text
    assert "&#34;sku&#34;: 7" in text


@pytest.mark.parametrize(
    ("overlap", "said"),
    [
        ("skip", "within 1 d, one after the other"),
        ("queue_one", "within 1 d, but only the first and the newest of them run"),
        ("cancel_previous", "within 1 d, but each cancels the one before"),
        ("queue_all", "the new ones wait in line, up to 7"),
    ],
)
def test_what_overlap_leaves_of_a_catch_up_is_said(
    site: Any, overlap: str, said: str
) -> None:
    site.schedule("report", catchup="all", catchup_limit=7, overlap=overlap)
    assert said in site.page("/schedules/report").text


def test_what_was_edited_since_it_was_declared_is_named(site: Any) -> None:
    declared = {"key": "report", "lane": "mail", "catchup": "latest"}
    site.schedule("report", declared=declared)
    site.schedule("same", declared={"key": "same", "lane": "default"})

    assert "lane: the code declares otherwise" in site.page("/schedules/report").text
    assert "the code declares" not in site.page("/schedules/same").text


def test_how_long_runs_wait_to_start_is_shown(site: Any) -> None:
    site.schedule("report")
    for number in range(1, 21):
        due_at = NOW - timedelta(seconds=60 * number)
        started_at = due_at + timedelta(seconds=number)
        site.run("report", ago=60 * number, started_at=started_at)
    by_hand = {"origin": "manual:x", "started_at": NOW}
    site.run("report", ago=50_000, **by_hand)

    text = site.page("/schedules/report").text

    assert '<span class="value">10 s</span><span class="name">95 % below 19 s' in text


def test_a_run_leads_to_its_neighbours_incident_and_children(site: Any) -> None:
    site.schedule("report")
    site.schedule("other")
    before, run, after = (site.run("report", ago=ago) for ago in (300, 200, 100))
    site.run("other", ago=199)
    site.write(
        incidents,
        id="i1",
        schedule_key="report",
        lane="default",
        kind="failed",
        state="open",
        opened_at=NOW,
        bad_since=NOW - timedelta(seconds=200),
        bad_count=1,
        first_run=run,
        last_run=run,
        happened="failed",
    )
    site.write(
        results,
        task_id="child",
        status="SUCCESS",
        name="shop.child",
        run_id=run,
        parent_id=run,
        updated_at=NOW,
    )

    text = site.page(f"/runs/{run}").text

    assert f'rel="prev" href="/metronome/runs/{before}"' in text
    assert f'rel="next" href="/metronome/runs/{after}"' in text
    assert "/metronome/incidents/i1" in text
    assert "shop.child" in text
    assert "/metronome/incidents/i1" not in site.page(f"/runs/{before}").text


def test_a_lane_that_nobody_serves_says_so(site: Any) -> None:
    nobody = '<span class="value">no worker</span>'
    site.schedule("report")
    assert nobody in site.page("/").text
    site.worker()
    assert nobody not in site.page("/").text


def test_what_was_missed_waits_no_longer(site: Any) -> None:
    site.schedule("report")
    planned = {"planned_at": NOW - timedelta(seconds=50)}
    missed = site.run("report", state="missed", missed=True, **planned)
    waits = site.run("report", ago=30, state="published", **planned)

    label = '<span class="label">waits</span>'
    assert label not in site.page(f"/runs/{missed}").text
    assert label in site.page(f"/runs/{waits}").text


def test_a_dead_letter_says_how_to_decide_about_it(site: Any) -> None:
    site.schedule("report")
    dead = {"state": "failed", "reason": "rejected", "error_type": "DeadLetter"}
    run = site.run("report", **dead)

    text = site.page(f"/runs/{run}").text

    assert f"flask metronome lanes dead show {run}" in text


def test_the_system_says_what_waits_and_who_is_gone(site: Any) -> None:
    site.schedule("report")
    site.run("report", state="planned", publish_after=NOW, publish_error="no route")
    site.beat()
    site.beat(host="gone", heartbeat_at=NOW - timedelta(hours=1))
    site.worker(active=["0123456789"])
    for state in ("pending", "failed"):
        site.write(
            messages,
            id=state,
            kind="notice",
            type="incident.opened",
            destination="mail:ops",
            body={},
            state=state,
            next_try_at=NOW,
            created_at=NOW,
        )

    text = site.page("/system").text

    for words in (
        "no route",
        "1 given up",
        "none has ever watched",
        "gone",
        "01234567",
    ):
        assert words in text
    until = NOW + timedelta(seconds=10)
    site.write(
        leases, name="monitor", holder="m", epoch=1, expires_at=until, touched_at=NOW
    )
    assert "watches" in site.page("/system").text


def test_runs_are_found_by_when_they_were_due(site: Any) -> None:
    site.schedule("report")
    early, late = site.run("report", ago=7200), site.run("report", ago=60)

    text = site.page("/runs?due_after=2026-06-01T11:00&due_before=&origin=auto").text

    assert late in text
    assert early not in text
    assert 'value="2026-06-01T11:00"' in text
    assert site.page("/runs?due_after=yesterday").status_code == 422
