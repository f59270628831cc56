"""The headers that the API reads and answers, as the OpenAPI document has them."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from flask import Flask

from flask_metronome.api.blueprint import READS_BY_POST

_METHODS = ("get", "post", "put", "patch", "delete")
_REPEAT = {
    "in": "header",
    "name": "Idempotency-Key",
    "schema": {"type": "string", "pattern": "^[!-~]{1,100}$"},
    "description": "Done once, and answered alike when it is sent again within a day; "
    "422 with another body, 409 while the first is being answered.",
    "example": "7b6f4e1a",
}
_GUARD = {
    "in": "header",
    "name": "If-Match",
    "schema": {"type": "string"},
    "description": "The ETag that the edit was made from; 412 when it is no longer so.",
    "example": '"3"',
}
_RESUME = {
    "in": "header",
    "name": "Last-Event-ID",
    "schema": {"type": "string"},
    "description": "The id of the last event that was seen: goes on there.",
}

#: Of responses.
ETAG = {
    "ETag": {
        "schema": {"type": "string"},
        "description": "Its revision, for If-Match.",
        "example": '"3"',
    }
}
LOCATION = {
    "Location": {
        "schema": {"type": "string", "format": "uri-reference"},
        "description": "Where it can be read.",
    }
}


def with_headers(app: Flask, document: dict[str, Any]) -> dict[str, Any]:
    """A copy of the document with the headers that each operation reads.

    In a query there is no null: a parameter without a default is left out.
    """
    document = deepcopy(document)
    only_reads = {_path(app, name) for name in READS_BY_POST}
    schedule = _path(app, "metronome_api.get_schedule")
    stream = _path(app, "metronome_api.stream")
    for path, item in document["paths"].items():
        for method in item.keys() & set(_METHODS):
            found = item[method].setdefault("parameters", [])
            for one in found:
                _without_null(one["schema"])
            if method == "post" and path not in only_reads:
                found.append(_REPEAT)
            if path == schedule and method != "get":
                found.append(_GUARD)
            if path == stream:
                found.append(_RESUME)
    return document


def _path(app: Flask, endpoint: str) -> str:
    rule = next(app.url_map.iter_rules(endpoint))
    return str(rule).replace("<", "{").replace(">", "}")


def _without_null(schema: dict[str, Any]) -> None:
    if "default" in schema and schema["default"] is None:
        del schema["default"]
    if isinstance(schema.get("type"), list):
        (schema["type"],) = set(schema["type"]) - {"null"}
