"""How long a run may take when nobody said so: from how long runs took before."""

from __future__ import annotations

import math
from collections.abc import Sequence

#: So many of the last successes are looked at, and so many there must be.
SAMPLES = 50
LEAST_SAMPLES = 10
LEAST_SECONDS = 300.0
_FACTOR = 3.0
_SHARE = 0.95


def usual_longest_seconds(runtimes: Sequence[float]) -> float | None:
    """Three times the 95th percentile, at least five minutes, in seconds.

    :param runtimes: of the last successes, seconds, in any order.
    :returns: ``None`` while there are too few of them to tell.
    """
    if len(runtimes) < LEAST_SAMPLES:
        return None
    ordered = sorted(runtimes)
    place = math.ceil(_SHARE * len(ordered)) - 1
    return max(LEAST_SECONDS, _FACTOR * ordered[place])
