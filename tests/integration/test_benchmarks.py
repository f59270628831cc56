"""The benchmarks still run, so that they can be believed when they are needed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_benchmark_prints_its_table() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--quick"],
        cwd=ROOT,
        env={k: v for k, v in os.environ.items() if not k.startswith("METRONOME_")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for title in (
        "next_after, ",
        "tick on sqlite",
        "publish 50 persistent runs",
        "dispatch on sqlite",
        "edit to planned run on sqlite",
        "results of a task",
        "sweep on sqlite",
        "async view that reads",
    ):
        assert title in done.stdout
