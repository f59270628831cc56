"""Pages for people: server-rendered, no build step, nothing from elsewhere."""

from __future__ import annotations

from flask import Flask

from flask_metronome.pages import (
    actions,
    coming,
    flower,
    incidents,
    now,
    run,
    schedule,
    system,
)
from flask_metronome.pages.blueprint import pages

__all__ = ["register_pages"]

#: Importing them puts their views on the blueprint.
_VIEWS = (now, schedule, run, incidents, coming, system, actions, flower)


def register_pages(app: Flask, url_prefix: str) -> None:
    """Put the pages under a prefix of an app.

    :param url_prefix: a path such as ``/metronome``.
    """
    app.register_blueprint(pages, url_prefix=url_prefix)
