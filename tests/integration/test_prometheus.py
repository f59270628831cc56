"""The rules by promtool; rules and dashboard on a Prometheus that scraped real runs."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clockwork import HERE, Clockwork
from flask import Flask
from prometheus_server import Prometheus, find_prometheus, running_prometheus
from werkzeug.serving import make_server

from flask_metronome import Metronome
from flask_metronome.state import state_of

MONITORING = Path(__file__).parents[2] / "monitoring"
RULES = MONITORING / "prometheus/rules.yml"
COMMAND = ("metronome", "monitor")
#: What Grafana puts in for its variables.
VARIABLES = {"$schedule": ".*", "$__rate_interval": "30s", "$__range": "5m"}
PANELS = json.loads((MONITORING / "grafana/dashboard.json").read_text())["panels"]
QUERIES = [
    (panel["title"], target["expr"])
    for panel in PANELS
    for target in panel.get("targets", ())
]


@pytest.fixture(scope="module")
def promtool() -> str:
    found = find_prometheus()
    if found is None:
        missing = "no Prometheus to test against: install prometheus"
        # a laptop need not have one; CI must
        (pytest.fail if os.environ.get("CI") else pytest.skip)(missing)
    return found[1]


def run_rules_test(promtool: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run rules_test.yml against the rules in the same folder."""
    return subprocess.run(
        [promtool, "test", "rules", "rules_test.yml"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_rules_fire_when_they_should_and_only_then(promtool: str) -> None:
    answer = run_rules_test(promtool, RULES.parent)
    assert answer.returncode == 0, answer.stdout + answer.stderr


@pytest.mark.parametrize("seconds", ["0s", "9000h"])
def test_a_rule_that_is_too_quick_or_too_slow_is_found(
    promtool: str, tmp_path: Path, seconds: str
) -> None:
    """A control: 9000h silences every alert, 0s makes those with a wait too quick."""
    rules = RULES.read_text()
    with_a_wait = re.findall(r"alert: (\w+)(?:(?!alert:)[\s\S])*?\n +for:", rules)
    every = re.findall(r"alert: (\w+)", rules)
    rules = re.sub(r"\n +for: .*", "", rules)
    rules = re.sub(r"(\n +)- (alert: .*)", rf"\1- \2\1  for: {seconds}", rules)
    (tmp_path / "rules.yml").write_text(rules)
    text = (RULES.parent / "rules_test.yml").read_text()
    (tmp_path / "rules_test.yml").write_text(text)
    answer = run_rules_test(promtool, tmp_path)
    assert answer.returncode != 0
    found = set(re.findall(r"alertname: ?(\w+)", answer.stdout + answer.stderr))
    assert found == set(every if seconds == "9000h" else with_a_wait)


@pytest.fixture
def clockwork(vhost_url: str, database_url: str, tmp_path: Path) -> Iterator[Clockwork]:
    """A beat, a worker and a monitor at work, with good, bad and late runs."""
    made = Clockwork(broker_url=vhost_url, database_url=database_url, folder=tmp_path)
    try:
        made.add("steady", "clock.default", max_runtime_seconds=600)
        made.add("flaky", "clock.flaky", seconds=3)
        made.add("broken", "clock.nowhere", seconds=2)
        monitor(made)
        made.worker()
        made.beat()
        yield made
    finally:
        made.stop()


def monitor(clockwork: Clockwork) -> None:
    with (clockwork.folder / "monitor.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "flask", "-A", "clockwork_app", *COMMAND],
            cwd=HERE,
            env=clockwork._environment(),
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    clockwork.processes.append(process)


@pytest.fixture
def address(clockwork: Clockwork) -> Iterator[str]:
    """Where the app's own /metronome/metrics is served."""
    app = Flask("clockwork", instance_path=str(clockwork.folder / "data"))
    app.config.update(clockwork.settings)
    Metronome(app)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()
    state_of(app).database.dispose()


@pytest.fixture
def prometheus(promtool: str, address: str, tmp_path: Path) -> Iterator[Prometheus]:
    folder = tmp_path / "prometheus"
    folder.mkdir()
    path = "/metronome/metrics"
    with running_prometheus(folder, address, path, RULES) as found:
        yield found


def substituted(expression: str) -> str:
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    return expression


def firing(prometheus: Prometheus) -> set[tuple[str, str]]:
    """Alerts that fire, each with the schedule that it is about."""
    alerts: list[dict[str, Any]] = prometheus.get("alerts")["alerts"]
    return {
        (alert["labels"]["alertname"], alert["labels"].get("schedule", ""))
        for alert in alerts
        if alert["state"] == "firing"
    }


def without_data(prometheus: Prometheus) -> list[tuple[str, str]]:
    """The panels' queries that yield nothing."""
    return [
        (title, query)
        for title, query in QUERIES
        if not prometheus.query(substituted(query))
    ]


def test_rules_and_dashboard_on_real_runs(
    clockwork: Clockwork, prometheus: Prometheus
) -> None:
    counted = (
        "count((increase(metronome_run_duration_seconds_count[30s]) > 2) > 0)"
        " and on () increase(metronome_retries_total{schedule='flaky'}[30s]) > 0"
        " and on () increase(metronome_runs_total{outcome='failed'}[30s]) > 0"
        " and on () increase(metronome_dispatch_delay_seconds_count[30s]) > 0"
        " and on () increase(metronome_tick_duration_seconds_count[30s]) > 0"
        " and on () metronome_lane_messages >= 0"
    )
    clockwork.until(lambda: bool(prometheus.query(counted)), "runs to be counted")
    assert len(QUERIES) > 60
    # every series exists soon after the start, so that no panel is without data
    with contextlib.suppress(AssertionError):
        clockwork.until(lambda: not without_data(prometheus), "data in every panel")
    assert without_data(prometheus) == []
    groups = prometheus.get("rules")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert {rule["health"] for rule in rules} == {"ok"}, rules
    clockwork.until(
        lambda: ("MetronomeScheduleFailing", "broken") in firing(prometheus),
        "the alert about the broken schedule",
    )
    about_the_good = {name for name, about in firing(prometheus) if about == "steady"}
    assert about_the_good == set()
