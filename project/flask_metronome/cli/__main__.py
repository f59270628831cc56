"""``python -m flask_metronome.cli`` is the console script ``metronome``."""

from __future__ import annotations

from flask_metronome.cli import main

main()
