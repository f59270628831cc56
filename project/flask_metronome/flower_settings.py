"""Flower as this app's settings want it: see :mod:`metronome_monitoring.flower`."""

from __future__ import annotations

from typing import Any

from flask_metronome.errors import NotInitialized
from flask_metronome.metrics import snapshot_of
from flask_metronome.state import State, state_of
from metronome_monitoring.flower import FlowerSettings, install

PASSWORD_FILE = "flower-password"


def install_flower() -> None:
    """Let ``celery -A app flower`` be configured; called when Celery's CLI loads."""
    install(flower_settings)


def flower_settings(celery_app: Any) -> FlowerSettings | None:
    """What Flower needs of this Celery app; ``None`` if it is not one of ours."""
    try:
        state = state_of(celery_app)
    except NotInitialized:
        return None
    settings = state.settings
    return FlowerSettings(
        user=settings.flower_user,
        password=settings.flower_password,
        password_file=settings.data_dir / PASSWORD_FILE,
        broker_api=_broker_api(state),
        read=lambda: snapshot_of(state),
    )


def _broker_api(state: State) -> str | None:
    """The management API: as set, else the one the picked broker brings along."""
    if state.settings.broker_api_url:
        return state.settings.broker_api_url
    found: str | None = getattr(state.broker(), "api_url", None)
    return found
