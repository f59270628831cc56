"""Unknown periods: spans in which nobody was watching.

Nothing is concluded from one, and it tells nobody anything. What was due in it is
judged when its data come, after beats and workers had a moment to write. It is kept
so that a person who looks knows where nobody looked.
"""

from __future__ import annotations

from enum import StrEnum

#: The lease of the monitor that sweeps.
MONITOR_LEASE = "monitor"
#: No sweep for this long: nobody was watching.
ABSENCE_SECONDS = 30.0


class UnknownCause(StrEnum):
    """Why nobody was watching."""

    NO_MONITOR = "no_monitor"
    NO_DATABASE = "no_database"
