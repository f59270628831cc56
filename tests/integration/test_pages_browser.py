"""The pages in a real browser: live, accessible, at any width, in light and dark."""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from playwright.sync_api import (
    Browser,
    Page,
    expect,
    sync_playwright,
)
from seeded_shop import LANES, STORIES, seed
from seeded_troubles import WILD, seed_troubles
from sqlalchemy import create_engine, update
from werkzeug.serving import BaseWSGIServer, make_server

from flask_metronome import Metronome
from flask_metronome.models import attempts, metadata, schedules
from flask_metronome.state import State, state_of

_ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
_CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


@dataclass(kw_only=True)
class Shop:
    """A served shop: where it is, and how to stop and change it."""

    url: str
    state: State
    server: BaseWSGIServer

    def change_attempts(self, run_id: str, **values: Any) -> None:
        with self.state.database.begin() as connection:
            connection.execute(
                update(attempts).where(attempts.c.run_id == run_id).values(**values)
            )

    def wait_for_streams(self) -> None:
        """Until the server has noticed that its streams' clients are gone."""
        for _ in range(self.state.settings.streams):
            assert self.state.streams.acquire(timeout=30)

    def change(self, key: str, **values: Any) -> None:
        with self.state.database.begin() as connection:
            connection.execute(
                update(schedules).where(schedules.c.key == key).values(**values)
            )


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = next(filter(None, map(shutil.which, _CHROMIUM)), None)
    if path is None:
        pytest.fail("no browser to test the pages with: install Debian's chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=_ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop's database, to be copied."""
    path = tmp_path_factory.mktemp("seeded") / "shop.sqlite"
    engine = create_engine(f"sqlite:///{path}")
    metadata.create_all(engine)
    with engine.begin() as connection:
        seed(connection, datetime.now(UTC))
        seed_troubles(connection, datetime.now(UTC))
    engine.dispose()
    return path


@pytest.fixture
def shop(tmp_path: Path, seeded: Path) -> Iterator[Shop]:
    shutil.copy(seeded, tmp_path / "shop.sqlite")
    app = Flask("shop", instance_path=str(tmp_path))
    app.config["METRONOME_LANES"] = ",".join(LANES)
    app.config["METRONOME_DATABASE_URL"] = f"sqlite:///{tmp_path / 'shop.sqlite'}"
    app.config["METRONOME_PAGE_SECONDS"] = 1
    app.config["METRONOME_STREAM_SECONDS"] = 5
    Metronome(app)
    state = state_of(app)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}/metronome"
    yield Shop(url=url, state=state, server=server)
    server.shutdown()
    thread.join(10)
    server.server_close()
    state.loop.stop()
    state.database.dispose()


@pytest.fixture
def page(browser: Browser, shop: Shop) -> Iterator[Page]:
    """A page that may not log an error or ask anybody else for anything."""
    context = browser.new_context()
    # a stream outlives its page by seconds; the one test of it has it back
    context.add_init_script("window.Streams = EventSource; delete window.EventSource")
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on(
        "console",
        lambda said: wrong.append(said.text) if said.type == "error" else None,
    )
    page.on(
        "request",
        lambda asked: (
            None
            if "//127.0.0.1:" in asked.url or asked.url.startswith("data:")
            else wrong.append(asked.url)
        ),
    )
    yield page
    context.close()
    refused = [line for line in wrong if "ERR_CONNECTION" not in line]
    assert refused == []


def test_every_schedule_has_its_strip_and_its_next_due_time(
    page: Page, shop: Shop
) -> None:
    page.goto(shop.url + "/")

    expect(page.locator("tbody#rows tr")).to_have_count(len(STORIES) + 1)
    row = page.locator("tr", has=page.get_by_role("link", name="stock-sync"))
    expect(row.locator("svg.strip a")).to_have_count(60)
    expect(row.locator(".c-next")).to_have_text(
        re.compile(r"^\s*(\d+:\d\d|due now|.* overdue)\s*$")
    )
    expect(row.locator(".words")).to_have_text("every 5 minutes")
    blanks = page.locator("tr", has_text="import-suppliers").locator(".blank")
    expect(blanks).to_have_count(53)


def test_a_bar_leads_to_its_run_and_back_to_the_schedule(
    page: Page, shop: Shop
) -> None:
    page.goto(shop.url + "/")
    row = page.locator("tr", has=page.get_by_role("link", name="always-fails"))
    row.locator("svg.strip a").last.click()

    expect(page.get_by_role("heading", level=1)).to_contain_text("failed")
    expect(page.locator("pre")).to_contain_text("WarehouseDown")
    page.get_by_role("link", name="always-fails", exact=True).click()
    expect(page.get_by_role("heading", name="Next due times")).to_be_visible()


def test_the_page_follows_the_database_by_itself(page: Page, shop: Shop) -> None:
    page.goto(shop.url + "/")
    row = page.locator("tr", has=page.get_by_role("link", name="newsletter"))
    other = page.locator("tr", has=page.get_by_role("link", name="heartbeat"))
    expect(row.locator(".c-state")).to_have_text("good")
    page.evaluate("window.notReloaded = true")
    other.evaluate("node => { node.kept = true }")

    shop.change("newsletter", state="paused", next_due_at=None)

    expect(row.locator(".c-state")).to_have_text("paused")
    assert page.evaluate("window.notReloaded") is True
    assert other.evaluate("node => node.kept") is True
    expect(page.locator("#live")).to_have_text(re.compile("live|updated . s ago"))


def test_a_lost_connection_is_said(page: Page, shop: Shop) -> None:
    page.goto(shop.url + "/")
    expect(page.locator("#live")).not_to_contain_text("Not refreshed")

    shop.server.shutdown()
    shop.server.server_close()

    expect(page.locator("#live.lost")).to_contain_text("Not refreshed since")


def run_of(shop: Shop, query: str) -> str:
    """The newest run that fits."""
    client = shop.state.flask_app.test_client()
    found = client.get(f"/metronome/api/v1/runs?limit=1&{query}").json
    return str(found["items"][0]["id"])  # type: ignore[index]


def incident_of(shop: Shop, state: str) -> str:
    """An incident in that state."""
    client = shop.state.flask_app.test_client()
    found = client.get(f"/metronome/api/v1/incidents?state={state}").json
    return str(found["items"][0]["id"])  # type: ignore[index]


def every_page(shop: Shop) -> list[str]:
    """The addresses of all pages, with whatever is odd on them."""
    return [
        "/",
        "/coming",
        "/runs",
        "/incidents",
        f"/incidents/{incident_of(shop, 'acknowledged')}",
        "/system",
        "/schedules/sales-report",
        f"/schedules/{WILD}",
        f"/runs/{run_of(shop, 'state=failed&schedule=stock-sync')}",
        f"/runs/{run_of(shop, f'state=failed&schedule={WILD}')}",
        f"/runs/{run_of(shop, f'state=planned&schedule={WILD}')}",
    ]


@pytest.mark.parametrize(
    ("width", "scheme"), [(360, "light"), (800, "dark"), (1280, "light")]
)
def test_no_page_is_wider_than_the_screen_or_hard_to_read(
    page: Page, shop: Shop, width: int, scheme: Any
) -> None:
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 800})
    for path in every_page(shop):
        page.goto(shop.url + path)
        for button in page.locator("details.act > summary").all():
            button.click()
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
        assert page.evaluate(_CONTRASTS) == [], path
        assert page.evaluate(_UNNAMED) == [], path
        assert page.evaluate("window.harmed") is None, path


def test_a_schedule_is_paused_and_resumed(page: Page, shop: Shop) -> None:
    page.goto(shop.url + "/schedules/newsletter")
    page.get_by_text("Pause", exact=True).click()
    page.get_by_label("Why (shown here and in the log)").fill("ticket 7")
    page.get_by_role("button", name="Pause it").click()

    expect(page.get_by_role("status")).to_contain_text("newsletter is paused")
    expect(page.locator("#verdict")).to_contain_text("ticket 7")
    expect(page.locator("#changes")).to_contain_text("page 127.0.0.1 paused it")
    page.get_by_text("Resume", exact=True).click()
    page.get_by_role("button", name="Resume it").click()
    expect(page.get_by_role("status")).to_contain_text("goes on")
    expect(page.locator("#verdict")).not_to_contain_text("ticket 7")


def test_a_run_is_asked_for_cancelled_and_asked_for_again_by_keyboard(
    page: Page, shop: Shop
) -> None:
    page.goto(shop.url + "/schedules/newsletter")
    for summary, button, outcome in (
        ("Run now", "Run it now", "this is its run"),
        ("Cancel", "Cancel the run", "The run is cancelled"),
        ("Run again", "Run it again", "this is the new run"),
    ):
        page.get_by_text(summary, exact=True).focus()
        page.keyboard.press("Enter")
        expect(page.get_by_role("button", name=button)).to_be_visible()
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        expect(page.get_by_role("status")).to_contain_text(outcome)

    page.goto(shop.url + "/runs?origin=manual&schedule=newsletter")
    expect(page.locator("#list tbody tr")).to_have_count(2)


def test_an_incident_is_acknowledged_muted_and_closed(page: Page, shop: Shop) -> None:
    page.goto(shop.url + f"/incidents/{incident_of(shop, 'open')}")
    page.get_by_text("Acknowledge", exact=True).click()
    page.get_by_label("Note for the others").fill("I am on it")
    page.get_by_role("button", name="Acknowledge it").click()
    expect(page.locator("#verdict")).to_contain_text("I am on it")

    page.get_by_text("Mute", exact=True).click()
    page.get_by_label("For how long").select_option("1 day")
    page.get_by_role("button", name="Mute it").click()
    expect(page.get_by_role("status")).to_contain_text("Muted for 1 day")

    page.get_by_text("Close", exact=True).click()
    page.get_by_role("button", name="Close it").click()
    expect(page.get_by_role("status")).to_contain_text("Closed")
    expect(page.locator("#acts")).to_have_count(0)

    page.goto(shop.url + "/incidents")
    muted = page.locator("#mutes li", has_text="always-fails")
    muted.get_by_role("button", name="End").click()
    expect(page.get_by_role("status")).to_contain_text("The mute is over")
    expect(muted).to_have_count(0)


def test_a_refresh_keeps_forms_folds_focus_and_place(page: Page, shop: Shop) -> None:
    page.goto(shop.url + "/schedules/newsletter")
    page.get_by_text("Pause", exact=True).click()
    page.locator("#pause-reason").fill("half a sen")
    shop.change("newsletter", description="changed by another")
    expect(page.locator("#verdict")).to_contain_text("changed by another")
    expect(page.locator("#pause-reason")).to_have_value("half a sen")
    expect(page.locator("#pause-reason")).to_be_focused()

    run = run_of(shop, "state=failed&schedule=stock-sync&flag=retried")
    page.goto(shop.url + f"/runs/{run}")
    first = page.locator("#attempts details").first
    first.locator("summary").click()
    page.evaluate("window.scrollTo(0, 200)")
    shop.change_attempts(run, error="changed by another")
    expect(page.locator("#attempts")).to_contain_text("changed by another")
    expect(first).to_have_attribute("open", "")
    expect(first.locator("summary")).to_be_focused()
    assert page.evaluate("window.scrollY") == 200


def test_runs_are_found_with_the_form_and_followed_page_by_page(
    page: Page, shop: Shop
) -> None:
    page.goto(shop.url + "/runs")
    page.get_by_label("Schedule").fill("stock-sync")
    page.get_by_label("That was").select_option("retried")
    page.get_by_role("button", name="Show").click()
    expect(page.locator("#list tbody tr").first).to_contain_text("retried 2×")

    page.goto(shop.url + "/runs?limit=30&schedule=heartbeat")
    for left in (30, 10):
        # the page before has as many rows: only the navigation tells them apart
        with page.expect_navigation():
            page.get_by_role("link", name="Older runs").click()
        expect(page.locator("#list tbody tr")).to_have_count(left)
    expect(page.get_by_role("link", name="Older runs")).to_have_count(0)


def test_times_are_shown_in_the_readers_zone_when_asked(
    browser: Browser, shop: Shop
) -> None:
    context = browser.new_context(timezone_id="Asia/Kolkata")
    context.add_init_script("delete window.EventSource")
    page = context.new_page()
    page.goto(shop.url + "/schedules/newsletter")
    at = page.locator("#verdict time.at").first
    utc = at.text_content() or ""
    page.get_by_role("button", name="UTC").click()

    ahead = datetime.fromisoformat(utc) + timedelta(hours=5, minutes=30)
    expect(at).to_have_text(ahead.isoformat(" "))
    expect(page.locator("#verdict .zone").first).to_have_text(
        re.compile("Asia/(Kolkata|Calcutta)")
    )
    context.close()


def test_the_stream_tells_of_a_run_before_the_page_would_ask(
    browser: Browser, shop: Shop
) -> None:
    context = browser.new_context()
    # so long does no test wait
    context.add_init_script(
        "document.addEventListener('readystatechange', () => "
        "document.getElementById('main')?.setAttribute('data-seconds', 600), true)"
    )
    page = context.new_page()
    with page.expect_response(re.compile("/stream")):
        page.goto(shop.url + "/runs?schedule=newsletter&origin=manual")
    expect(page.locator("#list")).to_contain_text("No run fits")

    shop.state.flask_app.test_client().post(
        "/metronome/api/v1/schedules/newsletter/trigger"
    )

    expect(page.locator("#list tbody")).to_contain_text("by hand", timeout=20_000)
    context.close()
    shop.wait_for_streams()


def test_without_scripts_it_reloads_itself(browser: Browser, shop: Shop) -> None:
    context = browser.new_context(java_script_enabled=False)  # and no stream
    page = context.new_page()
    page.goto(shop.url + "/")

    with page.expect_navigation(timeout=10_000):
        shop.change("newsletter", state="paused")
    expect(page.locator("tr", has_text="newsletter").locator(".c-state")).to_have_text(
        "paused"
    )
    context.close()


#: Texts whose contrast with what is behind them is below 4.5 to 1 (WCAG AA).
_CONTRASTS = """
() => {
  const parse = (text) => (text.match(/[\\d.]+/g) || [0, 0, 0]).map(Number);
  const light = ([r, g, b]) => [r, g, b]
    .map((v) => v / 255)
    .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (node) => {
    for (; node; node = node.parentElement) {
      const found = parse(getComputedStyle(node).backgroundColor);
      if (found.length < 4 || found[3] > 0) return found;
    }
    return [255, 255, 255];
  };
  const thin = [];
  for (const node of document.querySelectorAll("body *")) {
    const own = [...node.childNodes].some((c) => c.nodeType === 3 && c.data.trim());
    if (!own || node.closest("svg, select, .skip, pre, script, style")) continue;
    const a = light(parse(getComputedStyle(node).color));
    const b = light(behind(node));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) thin.push([node.className, node.textContent.trim(), ratio]);
  }
  return thin;
}
"""

#: Fields and buttons that a screen reader has no name for, and ids that come twice.
_UNNAMED = """
() => {
  const wrong = [];
  for (const node of document.querySelectorAll("input, select, button, a, summary")) {
    if (node.type === "hidden" || node.closest("[aria-hidden]")) continue;
    const name = [node.textContent, node.title, node.getAttribute("aria-label"),
      ...[...(node.labels || [])].map((l) => l.textContent)].join("").trim();
    if (!name) wrong.push(node.outerHTML.slice(0, 200));
  }
  const ids = [...document.querySelectorAll("[id]")].map((node) => node.id);
  return [...wrong, ...ids.filter((id, i) => ids.indexOf(id) !== i)];
}
"""
