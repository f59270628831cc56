"""A schedule's secrets: seen by nobody, and not overwritten by what was seen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner
from flask.cli import ScriptInfo

from flask_metronome.cli import metronome_cli
from flask_metronome.operations import Operations
from flask_metronome.redaction import MASK

SECRET = "hunter2"
BODY = {
    "key": "pay",
    "task": "shop.pay",
    "cadence": {"kind": "every", "every": 5, "unit": "minutes"},
    "args": ["me", SECRET],
    "kwargs": {
        "password": SECRET,
        "account": {"api_key": SECRET, "name": "shop"},
        "url": f"amqp://me:{SECRET}@host/",
        "hosts": [f"a?token={SECRET}", "b"],
    },
    "options": {"headers": {"Authorization": f"Bearer {SECRET}"}, "priority": 3},
}
SHOWN = {
    "args": ["me", MASK],
    "kwargs": {
        "password": MASK,
        "account": {"api_key": MASK, "name": "shop"},
        "url": f"amqp://me:{MASK}@host/",
        "hosts": [f"a?token={MASK}", "b"],
    },
    "options": {"headers": {"Authorization": MASK}, "priority": 3},
}
API = "/metronome/api/v1/schedules/pay"


@pytest.fixture
def shop(make_site: Callable[..., Any]) -> Any:
    """A site with a schedule full of secrets, and a run of it."""
    site = make_site()

    @site.state.celery.task(name="shop.pay", redact=("iban",), shared=False)
    def pay(who: str, iban: str = "", **_: Any) -> None: ...

    assert site.post("/schedules", BODY).status_code == 201
    return site


def stored(site: Any) -> dict[str, Any]:
    values = Operations(site.state).get("pay").definition.to_dict()
    return {name: values[name] for name in ("args", "kwargs", "options")}


def commands(site: Any, *words: str) -> str:
    made = ScriptInfo(create_app=lambda: site.app)
    result = CliRunner().invoke(metronome_cli, words, obj=made)
    assert result.exit_code == 0, result.output
    return result.output


def test_it_is_shown_without_them_wherever_it_is_shown(shop: Any) -> None:
    changed = {"args": ["you", SECRET], "kwargs": {"password": SECRET, "n": 1}}
    shop.client.patch(API, json=changed)
    shop.client.patch(API, json=SHOWN | {"kwargs": {"token": SECRET}})
    run = shop.post("/schedules/pay/trigger").json["id"]
    shop.attempt(run, state="failed", error_type="ValueError", error="no")
    ids = {"key": "pay", "run_id": run}
    seen = 0
    for rule in shop.app.url_map.iter_rules():
        known = rule.arguments <= ids.keys() and "stream" not in rule.rule
        known = known and not rule.endpoint.endswith("nothing_here")
        if "GET" not in rule.methods or not known or "metronome" not in rule.endpoint:
            continue
        addresses = shop.app.url_map.bind("x")
        path = addresses.build(rule.endpoint, ids, append_unknown=False)
        answer = shop.client.get(path)
        assert answer.status_code in (200, 503), path
        text = answer.get_data(as_text=True)
        assert SECRET not in text, path
        seen += MASK in text
    assert seen >= 8, "schedules, runs, audit, each as list and alone, and pages"
    for words in (
        ("schedules", "show", "pay"),
        ("schedules", "show", "pay", "--json"),
        ("schedules", "list", "--json"),
        ("runs", "show", run),
        ("runs", "show", run, "--json"),
        ("runs", "list", "--json"),
        ("schedules", "edit", "pay", "--description", "x", "--json"),
    ):
        text = commands(shop, *words)
        assert SECRET not in text, words
        assert MASK in text, words


def test_what_is_shown_can_be_sent_back(shop: Any) -> None:
    found = shop.get("/schedules/pay").json
    assert {name: found[name] for name in SHOWN} == SHOWN
    kept = {name: BODY[name] for name in SHOWN}

    names = (*BODY, "description", "overlap")
    answer = shop.client.put(API, json={name: found[name] for name in names})
    assert (answer.status_code, stored(shop)) == (200, kept)
    answer = shop.client.patch(API, json={"kwargs": {**SHOWN["kwargs"], "n": 2}})
    assert answer.json["kwargs"] == {**SHOWN["kwargs"], "n": 2}
    assert stored(shop)["kwargs"] == {**BODY["kwargs"], "n": 2}  # type: ignore[dict-item]
    commands(shop, "schedules", "edit", "pay", "--args", f'["you", "{MASK}"]')
    assert stored(shop)["args"] == ["you", SECRET]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"kwargs": {"secret": MASK}}, "kwargs.secret"),
        ({"kwargs": {"account": {"token": MASK}}}, "kwargs.account.token"),
        ({"kwargs": {"url": f"amqp://you:{MASK}@host/"}}, "kwargs.url"),
        ({"kwargs": {"hosts": [f"a?token={MASK}"]}}, "kwargs.hosts[0]"),
        ({"args": [MASK]}, "args[0]"),
        ({"args": [MASK, "me"]}, "args[0]"),
        ({"options": {"headers": {"X-Token": MASK}}}, "options.headers.X-Token"),
    ],
)
def test_a_mark_for_nothing_stored_is_refused(
    shop: Any, change: dict[str, Any], field: str
) -> None:
    before = stored(shop)
    answer = shop.client.patch(API, json=change)
    assert answer.status_code == 422
    [error] = answer.json["errors"]
    assert (error["field"], stored(shop)) == (field, before)
    assert MASK in error["expected"]
    assert shop.post("/schedules", BODY | {"key": "new"} | change).status_code == 422


def test_a_secret_may_be_changed_and_taken_away(shop: Any) -> None:
    shop.client.patch(API, json={"kwargs": {"password": "new", "url": SECRET}})
    assert stored(shop)["kwargs"] == {"password": "new", "url": SECRET}


def test_a_trigger_may_name_the_arguments_as_they_are_shown(shop: Any) -> None:
    kwargs = {"password": MASK, "n": 5}
    run = shop.post("/schedules/pay/trigger", {"kwargs": kwargs}).json
    assert run["kwargs"] == kwargs
    with shop.state.database.read() as connection:
        row = connection.exec_driver_sql("SELECT args, kwargs FROM metronome_runs")
        assert SECRET in str(row.one())
    wrong = shop.post("/schedules/pay/trigger", {"args": [MASK]})
    assert (wrong.status_code, wrong.json["errors"][0]["field"]) == (422, "args[0]")
