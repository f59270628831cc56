"""The whole chain with real processes: every beat dead, missed, incident, mail and
webhook, metric, Prometheus' alert; a beat returns, the schedule runs, and all close."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clockwork import HERE, Clockwork
from prometheus_server import Prometheus, find_prometheus, running_prometheus
from receivers import HookServer, MailServer
from sqlalchemy import select

from flask_metronome.models import incidents

SECRET = "known to both"
RULES = Path(__file__).parents[2] / "monitoring/prometheus/rules.yml"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture
def mails() -> Iterator[MailServer]:
    server = MailServer(free_port())
    server.start()
    yield server
    server.stop()


@pytest.fixture
def hooks() -> Iterator[HookServer]:
    server = HookServer(SECRET)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def clockwork(vhost_url: str, database_url: str, tmp_path: Path) -> Iterator[Clockwork]:
    made = Clockwork(broker_url=vhost_url, database_url=database_url, folder=tmp_path)
    yield made
    made.stop()


def start(clockwork: Clockwork, name: str, *words: str, **settings: str) -> None:
    """One of our own commands on the app, beside its beats and workers."""
    named = {f"METRONOME_{key.upper()}": value for key, value in settings.items()}
    environment = {
        **os.environ,
        **clockwork.settings,
        **named,
        "METRONOME_TEST_SIDE": str(clockwork.side),
    }
    with (clockwork.folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "flask", "--app", "clockwork_app", *words],
            cwd=HERE,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    clockwork.processes.append(process)


def incident(clockwork: Clockwork) -> Any:
    with clockwork.database.read() as connection:
        return connection.execute(select(incidents)).one_or_none()


def metric(port: int, name: str) -> float | None:
    try:
        url = f"http://127.0.0.1:{port}/metronome/metrics"
        with urllib.request.urlopen(url, timeout=60) as answer:
            text = answer.read().decode()
    except OSError:
        return None
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else None


@pytest.fixture
def port(clockwork: Clockwork) -> int:
    """Where the app's web process listens."""
    found = free_port()
    start(clockwork, "web", "run", "--port", str(found))
    return found


@pytest.fixture
def prometheus(port: int, tmp_path: Path) -> Iterator[Prometheus]:
    """Scrapes the web process, and evaluates our rules."""
    if find_prometheus() is None:
        missing = "no Prometheus to test against: install prometheus"
        # a laptop need not have one; CI must
        (pytest.fail if os.environ.get("CI") else pytest.skip)(missing)
    folder = tmp_path / "prometheus"
    folder.mkdir()
    target = f"127.0.0.1:{port}"
    with running_prometheus(folder, target, "/metronome/metrics", RULES) as found:
        yield found


def alerted(prometheus: Prometheus) -> bool:
    """Whether the alert about an open incident of this kind fires."""
    query = (
        'ALERTS{alertname="MetronomeIncidentOpen",kind="missed",alertstate="firing"}'
    )
    return bool(prometheus.query(query))


def test_from_dead_beats_to_a_closed_incident(
    clockwork: Clockwork,
    mails: MailServer,
    hooks: HookServer,
    port: int,
    prometheus: Prometheus,
) -> None:
    start(
        clockwork,
        "monitor",
        *("metronome", "monitor"),
        monitor_seconds="1",
        notify_delay_seconds="0.5",
        smtp_url=mails.url,
        mail_from="metronome@shop.example",
        mail_to="ops@shop.example",
        webhook_urls=hooks.url,
        webhook_secret=SECRET,
        public_url="https://shop.example",
    )
    clockwork.worker()
    beat = clockwork.beat()
    # a busy machine may stand still for seconds: that is not missed yet
    clockwork.add("steady", "clock.default", seconds=2, grace_seconds=10)
    clockwork.until(lambda: len(clockwork.lines()) >= 2, "two bodies")
    assert incident(clockwork) is None
    assert not alerted(prometheus)
    beat.send_signal(signal.SIGKILL)
    clockwork.until(lambda: len(mails.found) == 1, "the mail")
    clockwork.until(lambda: len(hooks.found) == 1, "the webhook")
    opened = incident(clockwork)
    assert (opened.kind, opened.cause, opened.state) == (
        "missed",
        "scheduler_down",
        "open",
    )
    _check_what_was_said(mails, hooks, opened)
    name = 'metronome_incidents_open{kind="missed"}'
    clockwork.until(lambda: metric(port, name) == 1, "the metric")
    clockwork.until(lambda: alerted(prometheus), "the alert")
    clockwork.beat()
    clockwork.until(lambda: incident(clockwork).state == "closed", "the incident")
    clockwork.until(lambda: len(mails.found) == 2, "the mail of the recovery")
    clockwork.until(lambda: len(hooks.found) == 2, "the webhook of the recovery")
    clockwork.until(lambda: metric(port, name) == 0, "the metric to fall")
    clockwork.until(lambda: not alerted(prometheus), "the alert to end")
    sent = 'metronome_notifications_total{channel="mail",outcome="sent"}'
    clockwork.until(lambda: metric(port, sent) == 2, "the count of mails")
    assert mails.subjects[1] == "[Metronome] Good again: steady was missed"
    assert hooks.types == ["incident.opened", "incident.closed"]
    assert hooks.refused == 0


def _check_what_was_said(mails: MailServer, hooks: HookServer, opened: Any) -> None:
    assert mails.subjects == ["[Metronome] steady was missed"]
    payload = mails.found[0].get_payload(decode=True)
    assert isinstance(payload, bytes)
    text = payload.decode()
    assert "Instead: no beat planned it" in text
    assert f"Was due: {opened.bad_since:%Y-%m-%d %H:%M}" in text
    assert f"Last good run: {opened.last_good_at:%Y-%m-%d %H:%M:%S} UTC" in text
    link = f"https://shop.example/metronome/incidents/{opened.id}"
    assert link in text
    data = hooks.found[0]["data"]
    assert (data["schedule"], data["kind"], data["link"]) == ("steady", "missed", link)
