"""``GET <prefix>/metrics``, for Prometheus."""

from __future__ import annotations

from flask import Blueprint, Response

from flask_metronome.access import require_read
from flask_metronome.metrics import metrics_view
from flask_metronome.state import State


def metrics_blueprint(state: State) -> Blueprint:
    """The blueprint with the one route; register it without a prefix of its own.

    Who may scrape is who may read: with an API token set, Prometheus sends it
    as its bearer token.
    """
    blueprint = Blueprint("metronome_metrics", __name__)
    blueprint.before_request(require_read)

    @blueprint.get(state.settings.url_prefix + "/metrics")
    def metrics() -> Response:
        return metrics_view(state)

    return blueprint
