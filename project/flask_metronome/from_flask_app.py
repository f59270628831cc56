"""The Celery app of whichever Flask app ``FLASK_APP`` names.

``FLASK_APP=shop celery -A flask_metronome.from_flask_app worker`` works with
every way in which Flask finds an app: a module, a file, a factory, ``app.py``.
"""

from __future__ import annotations

import os
from typing import Any

from flask.cli import ScriptInfo

from flask_metronome.state import state_of

_FOUND: dict[str, Any] = {}


def __getattr__(name: str) -> Any:
    # Only when asked for: importing this module must not start a user's app.
    if name not in ("app", "celery"):
        raise AttributeError(name)
    if not _FOUND:
        flask_app = ScriptInfo(app_import_path=os.environ.get("FLASK_APP")).load_app()
        _FOUND["celery"] = state_of(flask_app).celery
    return _FOUND["celery"]
