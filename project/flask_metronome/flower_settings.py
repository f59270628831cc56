"""What Flower needs of this app; it starts by :mod:`metronome_monitoring.flower`."""

from __future__ import annotations

from typing import Any

from flask_metronome.async_views import reading
from flask_metronome.errors import NotInitialized
from flask_metronome.history.children import run_of_task
from flask_metronome.metrics import snapshot_of
from flask_metronome.settings import Settings
from flask_metronome.state import State, state_of
from metronome_monitoring.flower import FlowerSettings, install

_SECONDS = 2.0


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
        password_file=settings.flower_password_file,
        broker_api=_broker_api(state),
        read=lambda: snapshot_of(state),
        prefix=settings.flower_path if settings.flower_url else None,
        run_link=lambda task_id: _run_link(state, task_id),
    )


def _broker_api(state: State) -> str | None:
    """The management API: as set, else the one the picked broker brings along."""
    if state.settings.broker_api_url:
        return state.settings.broker_api_url
    found: str | None = getattr(state.broker(), "api_url", None)
    return found


def _run_link(state: State, task_id: str) -> str | None:
    """The page of the run that a task is, or that has started it."""
    pages = _pages(state.settings)
    if pages is None:
        return None
    run_id = state.loop.run(_run_of(state, task_id), timeout_seconds=_SECONDS)
    return None if run_id is None else f"{pages}/runs/{run_id}"


async def _run_of(state: State, task_id: str) -> str | None:
    async with reading(state) as connection:
        return await run_of_task(connection, task_id)


def _pages(settings: Settings) -> str | None:
    """Where our pages are, as a browser on Flower's page would ask for them."""
    if settings.public_url:
        return settings.public_url.rstrip("/") + settings.url_prefix
    # Flower, where the app shows it, is beside our pages
    beside, ours, rest = settings.flower_path.rpartition(settings.url_prefix)
    if settings.flower_url and rest == "/flower":
        return beside + ours
    return None
