"""No sum ever falls, whatever happens in whatever order."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flask_metronome.core.run import FINAL, OPEN, RunState
from flask_metronome.store import counters


def _sums(world: Any) -> counters.Sums:
    with world.database.read() as connection:
        return counters.read_sums(connection)[0]


_STATES = sorted(state.value for state in FINAL | OPEN)
_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("run"), st.sampled_from(_STATES), st.booleans()),
        st.tuples(st.just("end"), st.integers(0, 5), st.sampled_from(sorted(FINAL))),
        st.tuples(st.just("retry"), st.integers(0, 5)),
        st.tuples(st.just("attempt"), st.integers(0, 5), st.sampled_from(
            ["running", "succeeded", "retried", "lost"]
        )),
        st.tuples(st.just("sweep")),
        st.tuples(st.just("years")),
    ),
    max_size=12,
)  # fmt: skip


_MOMENT = timedelta(microseconds=1)


class _History:
    """Applies steps to a world; asks after each whether a sum fell."""

    def __init__(self, world: Any) -> None:
        self.world = world
        self.schedule = world.schedule()
        self.monitor = world.monitor()
        self.open: list[str] = []
        self.number = 0
        self.seen: counters.Sums = counters.Sums()

    def run(self, state: str, missed: bool) -> None:
        self.number += 1
        found = self.world.run(
            self.schedule,
            state,
            due_at=self.world.now + timedelta(microseconds=self.number),
            missed=missed,
            reason="publish_failed" if missed else None,
            # nothing is missed before its grace is over
            **({"grace_until": self.world.now - _MOMENT} if missed else {}),
            started_at=self.world.now if state == "started" else None,
        )
        if RunState(state) in OPEN:
            self.open.append(found)

    def end(self, place: int, state: RunState) -> None:
        if place < len(self.open):
            self.world.change_run(
                self.open.pop(place), state=state, finished_at=self.world.now
            )

    def retry(self, place: int) -> None:
        if place < len(self.open):
            found = self.open[place]
            retries = self.world.row(found).retries + 1
            self.world.change_run(found, retries=retries)

    def attempt(self, place: int, state: str) -> None:
        if place < len(self.open):
            self.number += 1
            self.world.attempt(self.open[place], state=state, delivery=self.number)

    def sweep(self) -> None:
        self.world.clock.tick(5)
        assert self.monitor.sweep().failed == ()

    def years(self) -> None:
        self.world.clock.tick(86_400 * 200)
        # what runs for years would be flagged or lost: that only adds
        assert self.monitor.sweep().failed == ()
        self.open = [
            run
            for run in self.open
            if (row := self.world.row(run)) is not None and row.state in OPEN
        ]

    def check(self) -> None:
        now = _sums(self.world)
        fallen = {key: (n, now[key]) for key, n in self.seen.items() if now[key] < n}
        assert not fallen
        self.seen = now


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(steps=_STEPS)
def test_no_sum_ever_falls(
    new_world: Callable[[Path], Any], steps: list[tuple[Any, ...]]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = new_world(Path(folder))
        try:
            history = _History(world)
            for name, *arguments in steps:
                getattr(history, name)(*arguments)
                history.check()
        finally:
            world.database.dispose()
