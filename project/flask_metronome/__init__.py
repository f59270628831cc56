"""Flask-Metronome: periodic tasks for Flask that do not go missing."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from flask_metronome.version import __version__ as __version__

_HOMES = {
    "Cadence": "flask_metronome.core.cadence",
    "Definition": "flask_metronome.core.schedule",
    "Metronome": "flask_metronome.extension",
    "MetronomeError": "flask_metronome.errors",
    "cron": "flask_metronome.core.cadence",
    "every": "flask_metronome.core.cadence",
    "once": "flask_metronome.core.cadence",
    "rrule": "flask_metronome.core.cadence",
    "solar": "flask_metronome.core.cadence",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(name)
    return getattr(import_module(_HOMES[name]), name)
