"""The demo shows something of everything, and ends cleanly."""

from __future__ import annotations

import csv
import email
import signal
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from supervised import Supervised, descendants, fetch, is_alive, status_of, supervised

READY_SECONDS = 120.0


def all_kinds(demo: Supervised) -> dict[str, list[dict[str, Any]]] | None:
    """One list for each kind of run, as soon as none of them is empty."""
    page = demo.url_of("page")
    queries = {
        "succeeded": "state=succeeded&flag=retried",
        "failed": "state=failed",
        "missed": "flag=missed&schedule=pick-orders",
        "mailed": "state=succeeded&task=shop.send_newsletter",
        "reported": "state=succeeded&task=shop.send_report",
        "purged": "state=succeeded&task=shop.purge_sessions",
    }
    found = {}
    for kind, query in queries.items():
        answer = fetch(f"{page}api/v1/runs?{query}")
        if not answer or not answer["items"]:
            return None
        found[kind] = answer["items"]
    return found


def test_every_kind_of_run_mails_reports_and_a_clean_end(tmp_path: Path) -> None:
    words = ("flask_metronome.cli", "demo", "--port", "8231", "--flower-port", "5731")
    with supervised(*words, cwd=tmp_path) as demo:
        demo.wait_for(lambda: demo.url_of("page"), seconds=READY_SECONDS)
        kinds = demo.wait_for(lambda: all_kinds(demo), seconds=READY_SECONDS)
        assert kinds["failed"][0]["schedule_key"] == "import-prices"
        assert kinds["missed"][0]["state"] == "expired"
        assert kinds["missed"][0]["lane"] == "warehouse"
        assert kinds["succeeded"][0]["retries"] > 0
        lanes = {run["lane"] for runs in kinds.values() for run in runs}
        assert {"mail", "reports", "maintenance"} <= lanes
        assert status_of(demo.url_of("shop")) == 200
        assert status_of(demo.url_of("page")) == 200
        assert status_of(demo.url_of("page") + "metrics") == 200

        shop = tmp_path / "demo-data" / "shop"
        mails = [
            email.message_from_bytes(path.read_bytes()) for path in shop.glob("mails/*")
        ]
        assert {mail["Subject"] for mail in mails} >= {"This week"}
        assert all("@example.com" in mail["To"] for mail in mails)
        with next(shop.glob("reports/*.csv")).open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == 14
        assert sum(float(row["revenue"]) for row in rows) > 0
        chart = ElementTree.parse(next(shop.glob("reports/*.svg"))).getroot()
        assert len(list(chart)) > len(rows)

        started = descendants(demo.process.pid)
        assert demo.end(signal.SIGTERM) == 0, demo.output
        assert [pid for pid in started if is_alive(pid)] == []


def test_a_second_demo_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    words = ("flask_metronome.cli", "demo", "--port", "8241", "--flower-port", "5741")
    with supervised(*words, cwd=tmp_path) as first:
        first.wait_for(
            lambda: list(tmp_path.rglob("broker.json")), seconds=READY_SECONDS
        )
        with supervised(*words, cwd=tmp_path) as second:
            assert second.process.wait(timeout=60) == 1
            second.close()
            assert "A demo is running in" in second.output
        assert first.process.poll() is None
        assert first.end(signal.SIGINT) == 0, first.output
