"""How fast a cadence answers «when next?»: the inner loop of planning."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from benchmarks.table import Table
from flask_metronome.core.cadence import Cadence
from flask_metronome.core.cron import cron
from flask_metronome.core.every import every

CADENCES: dict[str, Cadence] = {
    "every 10 seconds": every(10),
    "* * * * * UTC": cron("* * * * *"),
    "0 8 * * mon-fri Berlin": cron("0 8 * * mon-fri", tz="Europe/Berlin"),
    "0 9 * * mon New York": cron("0 9 * * mon", tz="America/New_York"),
    "0 12 LW * * Lord Howe": cron("0 12 LW * *", tz="Australia/Lord_Howe"),
}


def measure(*, quick: bool) -> Table:
    """Step through each cadence from 2026 on."""
    steps = 100 if quick else 5_000
    return Table(
        title=f"next_after, {steps} steps each",
        columns=("cadence", "per second", "microseconds each"),
        rows=[(name, *_speed(cadence, steps)) for name, cadence in CADENCES.items()],
    )


def _speed(cadence: Cadence, steps: int) -> tuple[float, float]:
    moment: datetime | None = datetime(2026, 1, 1, tzinfo=UTC)
    began = time.perf_counter()
    for _ in range(steps):
        assert moment is not None
        moment = cadence.next_after(moment)
    seconds = time.perf_counter() - began
    return steps / seconds, seconds / steps * 1e6
