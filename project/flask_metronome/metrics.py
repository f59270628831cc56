"""Our metrics: numbers from SQL, exposed in Prometheus' text format."""

from __future__ import annotations

import threading
from importlib.metadata import PackageNotFoundError, version

from celery import __version__ as celery_version
from flask import Response
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from flask_metronome.state import State
from flask_metronome.store.numbers import isolate, read_snapshot
from metronome_monitoring.collector import MetronomeCollector
from metronome_monitoring.snapshot import Snapshot

REGISTRY = "metronome_metrics"
_lock = threading.Lock()


def product_version() -> str:
    """The installed version of this distribution."""
    try:
        return version("Flask-Metronome")
    except PackageNotFoundError:
        return "unknown"


def snapshot_of(state: State) -> Snapshot:
    """Read all numbers of one app.

    :raises DatabaseUnreachable: when its database is away.
    """
    with state.database.read() as connection:
        seen = isolate(connection)
        return read_snapshot(
            seen,
            now=state.database.now(seen),
            version=product_version(),
            lease_seconds=state.settings.lease_seconds,
            celery=celery_version,
        )


def registry_of(state: State) -> CollectorRegistry:
    """The app's own registry: two apps in one process do not mix."""
    extensions = state.flask_app.extensions
    with _lock:
        found = extensions.get(REGISTRY)
        if not isinstance(found, CollectorRegistry):
            found = CollectorRegistry(auto_describe=False)
            found.register(MetronomeCollector(lambda: snapshot_of(state)))
            extensions[REGISTRY] = found
        return found


def metrics_view(state: State) -> Response:
    """The answer to a scrape; it is 200 also while the database is away."""
    text = generate_latest(registry_of(state))
    return Response(text, content_type=CONTENT_TYPE_LATEST)
