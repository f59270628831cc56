"""The pages in a real browser: live, accessible, at any width, in light and dark."""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
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
from sqlalchemy import update
from werkzeug.serving import BaseWSGIServer, make_server

from flask_metronome import Metronome
from flask_metronome.models import metadata, schedules
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


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    app = Flask("shop", instance_path=str(tmp_path))
    app.config["METRONOME_LANES"] = ",".join(LANES)
    app.config["METRONOME_DATABASE_URL"] = f"sqlite:///{tmp_path / 'shop.sqlite'}"
    app.config["METRONOME_PAGE_SECONDS"] = 1
    Metronome(app)
    state = state_of(app)
    metadata.create_all(state.database.engine)
    with state.database.begin() as connection:
        seed(connection, datetime.now(UTC))
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
def page(browser: Browser) -> Iterator[Page]:
    """A page that may not log an error or ask anybody else for anything."""
    context = browser.new_context()
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

    expect(page.locator("tbody#rows tr")).to_have_count(len(STORIES))
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
    page.get_by_role("link", name="always-fails").click()
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


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 800, 1280])
def test_no_page_is_wider_than_the_screen(
    browser: Browser, shop: Shop, width: int, scheme: Any
) -> None:
    context = browser.new_context(
        color_scheme=scheme, viewport={"width": width, "height": 800}
    )
    page = context.new_page()
    runs = shop.state.flask_app.test_client().get(
        "/metronome/api/v1/runs?state=failed&limit=1"
    )
    failed = runs.json["items"][0]["id"]  # type: ignore[index]
    for path in ("/", "/runs", "/schedules/stock-sync", f"/runs/{failed}"):
        page.goto(shop.url + path)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
        thin = page.evaluate(_CONTRASTS)
        assert thin == [], path
    context.close()


def test_without_scripts_it_reloads_itself(browser: Browser, shop: Shop) -> None:
    context = browser.new_context(java_script_enabled=False)
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
