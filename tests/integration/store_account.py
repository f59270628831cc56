"""What the store machine does things with: definitions, steps, and its account."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

from hypothesis import strategies as st

from flask_metronome import cron, every
from flask_metronome.core.run import FINAL, AttemptState
from flask_metronome.core.schedule import CATCHUPS, ON_LOST, OVERLAPS, Definition
from flask_metronome.core.timing import Timing

#: Two hours before New York's clocks go forward.
START = datetime(2026, 3, 8, 5, tzinfo=UTC)
LEASE_SECONDS = 30.0
KEYS = ("a", "b", "c")
BEATS = ("beat-a", "beat-b")
#: How far a run has come; only forward, but for the edges named in `is_allowed`.
RANK = {
    "waiting": 0,
    "planned": 1,
    "published": 2,
    "received": 3,
    "started": 4,
    "retrying": 4,
    **dict.fromkeys(FINAL, 9),
}
NO_WORK = ("skipped", "missed", "expired")

CADENCES = st.sampled_from(
    [
        every(10, "seconds"),
        every(7, "minutes"),
        every(1, "hours"),
        cron("*/5 * * * *"),
        cron("30 2 * * *", tz="America/New_York"),
        cron("0 9 * * mon-fri", tz="Europe/Berlin"),
    ]
)
DEFINITIONS = st.fixed_dictionaries(
    {
        "cadence": CADENCES,
        "overlap": st.sampled_from(OVERLAPS),
        "catchup": st.sampled_from(CATCHUPS),
        "catchup_limit": st.sampled_from([1, 3, 100]),
        "catchup_window_seconds": st.sampled_from([600.0, 86_400.0]),
        "grace_seconds": st.sampled_from([None, None, 5.0]),
        "start_deadline_seconds": st.sampled_from([None, None, 20.0]),
        "max_runs": st.sampled_from([None, None, None, 3]),
        "jitter_seconds": st.sampled_from([0.0, 0.0, 5.0]),
        "concurrency_key": st.sampled_from([None, None, "shared"]),
        "on_lost": st.sampled_from(ON_LOST),
    }
)
STEPS = st.sampled_from(
    [0.001, 0.4, 3, 10, 10, 29, 31, 61, 300, 420, 3600, 25_200, 86_400, 259_200]
)
OUTCOMES = st.lists(
    st.sampled_from(
        ["confirmed"] * 4
        + ["unrecorded", "nacked", "returned", "unknown_sent", "unknown_unsent"]
    ),
    min_size=1,
    max_size=4,
)
NUMBERS = st.integers(0, 1000)
WORK = st.lists(
    st.tuples(
        st.sampled_from(["deliver", "deliver", "duplicate", "receive", "end", "end"]),
        NUMBERS,
        st.sampled_from(
            [
                AttemptState.SUCCEEDED,
                AttemptState.SUCCEEDED,
                AttemptState.FAILED,
                AttemptState.RETRIED,
                AttemptState.LOST,
            ]
        ),
    ),
    min_size=3,
    max_size=10,
)


@dataclass
class Epoch:
    """A time through which one definition was in force; ``since`` is exclusive."""

    since: datetime
    definition: Definition
    paused: bool = False
    until: datetime | None = None
    #: Bounded by max_runs: what is left over is nobody's.
    loose: bool = False

    @property
    def timing(self) -> Timing:
        return self.definition.timing


@dataclass
class Told:
    """What the machine told the store about one schedule."""

    id: str
    epochs: list[Epoch] = field(default_factory=list)

    def begin(self, epoch: Epoch) -> None:
        if self.epochs[-1:] and self.epochs[-1].until is None:
            self.epochs[-1].until = epoch.since
        self.epochs.append(epoch)
