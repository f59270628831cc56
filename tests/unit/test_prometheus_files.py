"""Rules and dashboard name only what is really exported; each alert is tested twice."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from metronome_monitoring.collector import MetronomeCollector
from metronome_monitoring.snapshot import (
    LaneNumbers,
    ScheduleNumbers,
    Snapshot,
    WorkerNumbers,
)

MONITORING = Path(__file__).parents[2] / "monitoring"
RULES = (MONITORING / "prometheus/rules.yml").read_text()
RULES_TEST = (MONITORING / "prometheus/rules_test.yml").read_text()
DASHBOARD = json.loads((MONITORING / "grafana/dashboard.json").read_text())
#: A metric with what is asked of its labels, in a rule, a test series or a panel.
METRIC = re.compile(r"\b(metronome_\w+)(?:\{([^}]*)\})?")
#: Labels whose values are a closed set.
CLOSED = {
    *("outcome", "reason", "flag", "cause", "kind", "channel", "chore", "outbox"),
    *("state", "trigger"),
}
#: Labels that Prometheus adds to everything it scrapes.
SCRAPED = {"instance", "job"}


def exported() -> dict[str, list[dict[str, str]]]:
    """Each sample's name, with the labels of all its series in a new installation."""
    new = ScheduleNumbers(
        key="a", task="t", lane="l", state="active", enabled=True,
        next_due_at=2.0, last_due_at=1.0, max_runtime_seconds=60.0,
        interval_seconds=1.0, late_after_seconds=15.0, no_success_after_seconds=152.0,
    )  # fmt: skip
    lane = LaneNumbers(name="default", messages=0, consumers=0)
    worker = WorkerNumbers(name="w", up=True, heartbeat_at=1.0, executing=0)
    registry = CollectorRegistry(auto_describe=False)
    snapshot = Snapshot(
        version="1",
        schedules=(new,),
        tasks={"t": {"attempts_lost": {}}},
        sums={"attempts": {}},
        lanes=(lane,),
        workers=(worker,),
    )
    registry.register(MetronomeCollector(lambda: snapshot))
    found: dict[str, list[dict[str, str]]] = {}
    for family in text_string_to_metric_families(generate_latest(registry).decode()):
        for sample in family.samples:
            found.setdefault(sample.name, []).append(dict(sample.labels))
    return found


def complaints(text: str) -> Iterator[str]:
    """What a text asks for that is not exported."""
    there = exported()
    for name, matchers in METRIC.findall(text):
        if name not in there:
            yield f"{name} does not exist"
            continue
        for label, values in re.findall(r'(\w+)\s*=~?\s*"([^"]*)"', matchers or ""):
            if label in SCRAPED:
                continue
            known = {labels.get(label) for labels in there[name]}
            if known == {None}:
                yield f"{name} has no label {label}"
            elif label in CLOSED:
                unknown = set(values.split("|")) - known
                yield from (f"{name} has no {label} {value}" for value in unknown)


def queries() -> list[str]:
    """Every query of the dashboard."""
    panels = DASHBOARD["panels"]
    return [target["expr"] for panel in panels for target in panel.get("targets", ())]


def test_the_rules_name_only_what_is_exported() -> None:
    assert len(METRIC.findall(RULES)) > 20
    assert list(complaints(RULES)) == []


def test_the_rules_test_feeds_only_what_is_exported() -> None:
    series = re.findall(r"series: '?(metronome_[^']*?)'?,? values", RULES_TEST)
    assert len(series) > 40
    assert list(complaints("\n".join(series))) == []


def test_the_dashboard_names_only_what_is_exported() -> None:
    asked = "\n".join([*queries(), json.dumps(DASHBOARD["templating"])])
    assert list(complaints(asked)) == []


def test_the_dashboard_shows_every_family() -> None:
    shown = {name for query in queries() for name, _ in METRIC.findall(query)}
    families = {re.sub(r"_(bucket|count|sum|created)$", "", n) for n in exported()}
    absent = families - {re.sub(r"_(bucket|count|sum)$", "", n) for n in shown}
    # the newest decided due time says nothing beside the next one
    assert absent == {"metronome_schedule_last_due_timestamp_seconds"}


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        ("metronome_queue_messages", "metronome_queue_messages does not exist"),
        (
            'metronome_runs_total{result="x"}',
            "metronome_runs_total has no label result",
        ),
        (
            'metronome_runs_total{outcome=~"failed|timeout"}',
            "metronome_runs_total has no outcome timeout",
        ),
    ],
)
def test_what_is_not_exported_is_found(asked: str, complaint: str) -> None:
    assert list(complaints(asked)) == [complaint]


def test_each_alert_is_tested_firing_and_not_firing() -> None:
    alerts = re.findall(r"alert: (\w+)", RULES)
    assert len(alerts) == len(set(alerts)) > 10
    expected = re.findall(r"alertname: (\w+),?\s+exp_alerts:(?: (\[\])|\n)", RULES_TEST)
    silent = {name for name, empty in expected if empty}
    firing = {name for name, empty in expected if not empty}
    assert silent == firing == set(alerts)


def test_each_alert_says_how_bad_it_is_and_one_sentence() -> None:
    for rule in RULES.split("- alert: ")[1:]:
        assert re.search(r"severity: (critical|warning|info)\b", rule), rule
        (summary,) = re.findall(r'summary: "?(.*?)"?\n', rule)
        assert summary.endswith("."), summary


#: What Grafana's published schema has, as far as it is used here.
PANEL = {
    *("id", "type", "title", "description", "datasource", "gridPos", "targets"),
    *("fieldConfig", "options", "transformations", "collapsed", "panels"),
}
TARGET = {"datasource", "expr", "refId", "legendFormat", "format", "instant"}
KINDS = {"row", "stat", "table", "timeseries", "heatmap", "state-timeline"}
DEFAULTS = {"unit", "thresholds", "custom"}


def test_the_dashboard_says_nothing_that_grafana_does_not_know() -> None:
    """Grafana drops unknown words without a complaint: a panel would look odd."""
    for panel in DASHBOARD["panels"]:
        about = panel["title"]
        assert panel.keys() <= PANEL, about
        assert panel["type"] in KINDS, about
        if panel["type"] == "row":
            continue
        assert panel["datasource"]["type"] == "prometheus", about
        assert panel["fieldConfig"].keys() == {"defaults", "overrides"}, about
        assert panel["fieldConfig"]["defaults"].keys() <= DEFAULTS, about
        references = [target["refId"] for target in panel["targets"]]
        assert len(set(references)) == len(references) > 0, about
        for target in panel["targets"]:
            assert target.keys() <= TARGET, about
            assert target["datasource"] == panel["datasource"], about


def overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    apart = (
        one["x"] + one["w"] <= other["x"]
        or other["x"] + other["w"] <= one["x"]
        or one["y"] + one["h"] <= other["y"]
        or other["y"] + other["h"] <= one["y"]
    )
    return not apart


def test_the_dashboard_is_laid_out() -> None:
    panels: list[dict[str, Any]] = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [panel["gridPos"] for panel in panels]
    assert max(place["x"] + place["w"] for place in places) <= 24
    for number, place in enumerate(places):
        assert not any(overlap(place, other) for other in places[:number])
