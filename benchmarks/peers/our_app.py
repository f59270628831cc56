"""The app of our beat: the same schedules, through the same ``beat_schedule``."""

from __future__ import annotations

import os

from flask import Flask

from flask_metronome import Metronome

flask_app = Flask("peers", instance_path=os.environ["METRONOME_DATA_DIR"])
flask_app.config["CELERY"] = {
    "task_ignore_result": True,
    "beat_schedule": {
        f"k{number}": {"task": "peers.note", "schedule": 1.0, "args": [f"k{number}"]}
        for number in range(int(os.environ["PEER_SCHEDULES"]))
    },
}
metronome = Metronome(flask_app)
app = metronome.celery


@app.task(name="peers.note")
def note(key: str) -> None:
    """Never executed: the benchmark reads the queue itself."""
