"""Keeps a host app's own Alembic from dropping our tables, which it does not know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Flask, appcontext_pushed

from flask_metronome.models import is_metronome_table


def include_name(
    name: str | None, kind: str, _parents: Mapping[str, str | None]
) -> bool:
    """Alembic's ``include_name`` hook: everything but our tables."""
    return kind != "table" or not is_metronome_table(name)


def protect_from_flask_migrate(app: Flask) -> None:
    """Give the app's Flask-Migrate our hook, unless it has one of its own.

    Without it ``flask db migrate`` on one database for both writes a migration that
    drops every table of ours.
    """

    def hook(_app: Flask, **_: Any) -> None:
        options = getattr(app.extensions.get("migrate"), "configure_args", None)
        if isinstance(options, dict):
            options.setdefault("include_name", include_name)

    # Flask-Migrate may be initialized after us; its commands push a context
    appcontext_pushed.connect(hook, app, weak=False)
