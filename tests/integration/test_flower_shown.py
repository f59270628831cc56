"""A real Flower under our prefix and login, in a real browser, and then gone."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from flask import Flask
from flower_process import (
    FlowerProcess,
    Shop,
    embedded_broker,
    free_port,
    prepared_shop,
)
from playwright.sync_api import Page, expect, sync_playwright
from werkzeug.serving import make_server

from flask_metronome import Metronome
from flask_metronome.operations import Operations
from flask_metronome.state import State, state_of

TOKEN = "t0ken"
expect.set_options(timeout=30_000)
_CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


@contextmanager
def served(shop: Shop, flower_url: str) -> Iterator[tuple[str, State]]:
    """The shop's pages; where, and its state."""
    app = Flask("shop", instance_path=str(shop.folder))
    app.config["METRONOME_DATA_DIR"] = str(shop.data_dir)
    app.config["METRONOME_BROKER_URL"] = shop.environ["METRONOME_BROKER_URL"]
    app.config["METRONOME_FLOWER_URL"] = flower_url
    app.config["METRONOME_API_TOKEN"] = TOKEN
    Metronome(app)
    state = state_of(app)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/metronome", state
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()
        state.loop.stop()
        state.database.dispose()


@contextmanager
def browsed() -> Iterator[Page]:
    """A page of a browser that knows our login and nothing of Flower's."""
    path = next(filter(None, map(shutil.which, _CHROMIUM)), None)
    if path is None:
        pytest.fail("no browser to test the pages with: install Debian's chromium")
    arguments = ["--headless", "--no-sandbox", "--disable-gpu"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        login = {"username": "me", "password": TOKEN}
        yield browser.new_context(http_credentials=login).new_page()  # type: ignore[arg-type]
        browser.close()


def tell_flower(state: State, flower: FlowerProcess, task_id: str) -> None:
    """Send a worker's event of a task until Flower knows the task."""
    password = state.settings.flower_password_file.read_text().strip()
    deadline = time.monotonic() + 60
    with state.celery.connection_for_write() as connection:
        dispatcher = state.celery.events.Dispatcher(connection, hostname="celery@one")
        while time.monotonic() < deadline:
            dispatcher.send(
                "task-received", uuid=task_id, name="shop.tick", args="()", kwargs="{}"
            )
            path = f"/metronome/flower/task/{task_id}"
            with suppress(OSError):
                if flower.ask(path, f"metronome:{password}").status == 200:
                    return
            time.sleep(0.2)
    pytest.fail(f"Flower does not know the task:\n{flower.log.read_text()}")


def test_run_and_task_link_to_each_other_and_nothing_breaks_without_flower(
    tmp_path: Path,
) -> None:
    port = free_port()
    target = f"http://127.0.0.1:{port}"
    with ExitStack() as stack:
        broker = stack.enter_context(embedded_broker(tmp_path))
        shop = prepared_shop(tmp_path, broker)
        url, state = stack.enter_context(served(shop, target))
        run = Operations(state).trigger("tick")
        page = stack.enter_context(browsed())
        troubles: list[str] = []
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on(
            "console",
            lambda said: troubles.append(said.text) if said.type == "error" else None,
        )
        with shop.flower(port=port, METRONOME_FLOWER_URL=target) as flower:
            tell_flower(state, flower, run)
            page.goto(f"{url}/runs/{run}")
            page.get_by_role("link", name="in Flower").click()
            expect(page).to_have_url(f"{url}/flower/task/{run}")
            expect(page.locator("#task-page")).to_contain_text("shop.tick")
            page.get_by_role("link", name="Run in Metronome").click()
            expect(page).to_have_url(f"{url}/runs/{run}")
            page.goto(f"{url}/flower/tasks")
            expect(page.locator("#tasks-table tbody")).to_contain_text("shop.tick")
            assert troubles == []
        page.goto(f"{url}/flower/tasks")
        expect(page.locator("#main")).to_contain_text(
            f"Flower does not answer at {target}"
        )
        page.goto(f"{url}/runs/{run}")
        expect(page.get_by_role("link", name="in Flower")).to_be_visible()
