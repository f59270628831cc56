"""HTTP API, version 1: reads on the async engine, writes through the operations."""

from __future__ import annotations

from flask import Flask, Response

from flask_metronome.access import require_read
from flask_metronome.api import (
    edits,
    incidents,
    processes,
    repeats,
    runs,
    schedules,
    stream,
)
from flask_metronome.api.blueprint import api
from flask_metronome.api.health import health
from flask_metronome.api.openapi import MetronomeApi

__all__ = ["register_api"]

#: Importing them puts their views on the blueprint, in the document's order.
_VIEWS = (schedules, edits, runs, incidents, processes, stream, repeats)


def register_api(app: Flask, url_prefix: str) -> None:
    """Put API, OpenAPI document and health under a prefix of an app.

    :param url_prefix: a path such as ``/metronome``.
    """
    document = MetronomeApi(app)
    document.register_blueprint(api, url_prefix=f"{url_prefix}/api/v1")
    app.register_blueprint(health, url_prefix=url_prefix)

    def openapi() -> Response:
        require_read()
        return document.document()

    app.add_url_rule(f"{url_prefix}/openapi.json", "metronome_openapi", openapi)
