"""Upper bounds of the histograms, in seconds, and which one a value falls into."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

#: From firing to the broker's confirm, and of a beat's tick.
DISPATCH_BUCKETS = (
    0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
)  # fmt: skip
#: From firing to the start of the body.
START_DELAY_BUCKETS = (
    0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0,
)  # fmt: skip
#: From the start of the body to the run's end, retries and their waits included.
RUN_DURATION_BUCKETS = (
    0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0,
    7200.0, 14400.0,
)  # fmt: skip
INFINITE = "+Inf"


def bucket_label(seconds: float, bounds: Sequence[float]) -> str:
    """The label of the one bucket that a value falls into (not cumulative)."""
    place = bisect_left(bounds, seconds)
    return INFINITE if place == len(bounds) else bound_label(bounds[place])


def bound_label(bound: float) -> str:
    """How a bound is written, in the label ``le`` and in the database."""
    return repr(float(bound))
