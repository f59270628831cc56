"""Flask-Metronome: periodic tasks for Flask that do not go missing."""

from __future__ import annotations

from flask_metronome.core.cadence import Cadence, after, cron, every, once, rrule, solar
from flask_metronome.core.schedule import Definition
from flask_metronome.errors import MetronomeError
from flask_metronome.extension import Metronome
from flask_metronome.version import __version__ as __version__

__all__ = [
    "Cadence",
    "Definition",
    "Metronome",
    "MetronomeError",
    "after",
    "cron",
    "every",
    "once",
    "rrule",
    "solar",
]
