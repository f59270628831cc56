"""What all tests share: how Hypothesis looks for examples."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# A busy machine makes any step slow; that says nothing about what is tested.
# In CI the same examples every time: a new one is found by a developer first.
settings.register_profile(
    "metronome", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "ci", parent=settings.get_profile("metronome"), derandomize=True
)
settings.load_profile("ci" if os.environ.get("CI") else "metronome")
