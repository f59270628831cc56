"""The OpenAPI document, and a host app that has flask-smorest of its own."""

from __future__ import annotations

import re
from typing import Any

from flask import Flask, abort
from flask_smorest import Api, Blueprint

from flask_metronome.core.cadence import KINDS


def operations(document: dict[str, Any]) -> set[tuple[str, str]]:
    methods = {"get", "post", "put", "patch", "delete"}
    return {
        (method, path)
        for path, item in document["paths"].items()
        for method in item
        if method in methods
    }


def test_every_route_is_in_the_document(site: Any) -> None:
    document = site.page("/openapi.json").json

    assert document["openapi"] == "3.1.0"
    routed = {
        (method.lower(), str(rule).replace("<", "{").replace(">", "}"))
        for rule in site.app.url_map.iter_rules()
        if rule.endpoint.startswith("metronome_api.")
        and not rule.endpoint.endswith("nothing_here")
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }
    assert operations(document) == routed
    assert ("post", "/metronome/api/v1/schedules/{key}/trigger") in routed


def test_the_document_holds_no_dangling_reference(site: Any) -> None:
    document = site.page("/openapi.json").json

    def references(value: Any) -> list[str]:
        if isinstance(value, dict):
            own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
            return own + [r for v in value.values() for r in references(v)]
        if isinstance(value, list):
            return [r for v in value for r in references(v)]
        return []

    found = set(references(document))
    assert found
    for reference in found:
        at: Any = document
        for part in reference.removeprefix("#/").split("/"):
            at = at[part]


def test_list_parameters_and_problems_are_documented(site: Any) -> None:
    document = site.page("/openapi.json").json

    listed = document["paths"]["/metronome/api/v1/runs"]["get"]
    names = {parameter["name"] for parameter in listed["parameters"]}
    assert {"limit", "cursor", "state", "flag", "due_after"} <= names
    wrong = document["components"]["responses"]["UNPROCESSABLE_ENTITY"]
    assert "application/problem+json" in wrong["content"]


def test_a_host_with_flask_smorest_keeps_its_own(make_site: Any) -> None:
    def before(app: Flask) -> None:
        app.config.update(
            API_TITLE="Shop",
            API_VERSION="9",
            OPENAPI_VERSION="3.0.3",
            OPENAPI_URL_PREFIX="/docs",
        )
        api = Api(app)
        shop = Blueprint("shop", __name__, url_prefix="/shop")

        @shop.route("/things")
        def things() -> Any:
            abort(418)

        api.register_blueprint(shop)

    site = make_site(before)

    theirs = site.client.get("/docs/openapi.json").json
    ours = site.page("/openapi.json").json
    assert (theirs["info"]["title"], theirs["openapi"]) == ("Shop", "3.0.3")
    assert list(theirs["paths"]) == ["/shop/things"]
    assert ours["info"]["title"] == "Flask-Metronome"
    assert "/shop/things" not in ours["paths"]
    # each answers errors in its own way
    assert site.client.get("/shop/things").json["code"] == 418
    assert site.get("/nothing").json["title"] == "Not Found"


def test_a_host_without_it_keeps_flasks_own_errors(site: Any) -> None:
    found = site.client.get("/elsewhere")

    assert found.status_code == 404
    assert found.mimetype == "text/html"


def test_two_apps_in_one_process_do_not_mix(make_site: Any) -> None:
    one, two = make_site(), make_site(url_prefix="/jobs")
    one.schedule("only-in-one")

    assert [s["key"] for s in one.get("/schedules").json["items"]] == ["only-in-one"]
    assert two.client.get("/jobs/api/v1/schedules").json["items"] == []
    assert two.client.get("/metronome/").status_code == 404


def resolved(document: dict[str, Any], value: Any) -> Any:
    """What a reference leads to."""
    while isinstance(value, dict) and "$ref" in value:
        at: Any = document
        for part in value["$ref"].removeprefix("#/").split("/"):
            at = at[part]
        value = at
    return value


def parameters_of(document: dict[str, Any], path: str, method: str) -> dict[str, Any]:
    item = document["paths"][f"/metronome/api/v1{path}"]
    found = [*item.get("parameters", ()), *item[method].get("parameters", ())]
    named = [resolved(document, one) for one in found]
    return {one["name"]: one for one in named}


def test_each_parameter_says_what_it_takes(site: Any) -> None:
    document = site.page("/openapi.json").json

    for method, path in operations(document):
        short = path.removeprefix("/metronome/api/v1")
        for name, one in parameters_of(document, short, method).items():
            schema = one["schema"]
            kind = schema.get("items", schema).get("type")
            assert isinstance(kind, str), (method, path, name, schema)
            # it may be left out, but there is no null in a query
            assert schema.get("default", "none") is not None, (path, name)
    runs = parameters_of(document, "/runs", "get")
    assert runs["limit"]["schema"] | {"description": ""} == {
        "type": "integer",
        "minimum": 1,
        "maximum": 200,
        "default": 50,
        "description": "",
    }
    assert "timed_out" in runs["state"]["schema"]["items"]["enum"]
    assert runs["due_after"]["schema"]["format"] == "date-time"
    assert runs["task"]["schema"]["maxLength"] == 255


def test_headers_are_documented_where_they_are_read(site: Any) -> None:
    document = site.page("/openapi.json").json

    for method, path in operations(document):
        short = path.removeprefix("/metronome/api/v1")
        names = set(parameters_of(document, short, method))
        repeatable = method == "post" and not path.endswith("/preview")
        assert ("Idempotency-Key" in names) == repeatable, (method, path)
        guarded = method in ("put", "patch", "delete") and path.endswith("/{key}")
        assert ("If-Match" in names) == guarded, (method, path)
    assert site.page("/openapi.json").json == document
    stream = parameters_of(document, "/stream", "get")
    assert set(stream) == {"schedule", "lane", "Last-Event-ID"}
    one = document["paths"]["/metronome/api/v1/schedules/{key}"]
    for method in ("get", "put", "patch"):
        assert "ETag" in one[method]["responses"]["200"]["headers"]


def test_bodies_are_documented_and_their_examples_are_taken(site: Any) -> None:
    document = site.page("/openapi.json").json
    takes = {
        path.removeprefix("/metronome/api/v1"): item[method]["requestBody"]
        for path, item in document["paths"].items()
        for method in ("post", "put", "patch")
        if "requestBody" in item.get(method, {})
    }

    assert set(takes) == {
        "/schedules",
        "/schedules/{key}",
        "/schedules/preview",
        "/schedules/{key}/pause",
        "/schedules/{key}/trigger",
        "/schedules/{key}/backfill",
        "/incidents/{incident_id}/acknowledge",
        "/incidents/{incident_id}/close",
        "/mutes",
    }
    assert takes["/schedules"]["required"] is True
    assert takes["/schedules/{key}/trigger"]["required"] is False
    definition = document["components"]["schemas"]["Definition"]["properties"]
    assert definition["catchup"]["enum"] == ["latest", "earliest", "all", "none"]
    kinds = resolved(document, definition["cadence"])["oneOf"]
    examples = [kind["example"] for kind in kinds]
    assert {example["kind"] for example in examples} == set(KINDS)
    for kind, example in zip(kinds, examples, strict=True):
        assert set(kind["required"]) <= set(example) <= set(kind["properties"])
        answer = site.post("/schedules/preview", {"cadence": example})
        assert answer.status_code == 200, answer.json


def test_a_mounted_app_says_where_it_is(make_site: Any) -> None:
    site = make_site(url_prefix="/jobs")
    site.schedule("report")
    mounted = {"base_url": "http://localhost/ops/"}

    document = site.client.get("/jobs/openapi.json", **mounted).json
    assert document["servers"] == [{"url": "/ops"}]
    assert "/jobs/api/v1/runs" in document["paths"]
    assert site.client.get("/jobs/openapi.json").json["servers"] == [{"url": "/"}]

    wrong = site.client.get("/jobs/api/v1/runs/nope", **mounted).json
    assert wrong["instance"] == "/ops/jobs/api/v1/runs/nope"
    page = site.client.get("/jobs/schedules/report", **mounted).text
    links = re.findall(r'(?:href|src|action|data-stream)="(/[^"]*)"', page)
    assert len(links) > 10
    assert [link for link in links if not link.startswith("/ops/jobs/")] == []
