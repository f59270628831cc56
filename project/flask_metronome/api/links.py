"""Links from what is ours to what is not."""

from __future__ import annotations

from flask import url_for

from flask_metronome.state import state_of


def task_in_flower(task_id: str) -> str | None:
    """Where Flower shows a task, under our own address; ``None`` if it is not set."""
    if state_of().settings.flower_url is None:
        return None
    return url_for("metronome_pages.flower", path=f"task/{task_id}")
