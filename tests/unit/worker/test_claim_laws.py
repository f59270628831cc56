"""Whatever arrives in whatever order: states move forward, fences start once."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from worker_store import ELSEWHERE, RUN, Store

from flask_metronome.core.claim import Verdict
from flask_metronome.core.ending import LostCause
from flask_metronome.core.run import FINAL, AttemptState, RunState
from flask_metronome.store import claims, ends

#: How far a run has come; retrying and started may alternate.
RANK = {
    "planned": 0,
    "published": 1,
    "received": 2,
    "started": 3,
    "retrying": 3,
    **dict.fromkeys(FINAL, 9),
}
ENDS = st.sampled_from(
    [
        AttemptState.SUCCEEDED,
        AttemptState.FAILED,
        AttemptState.RETRIED,
        AttemptState.TIMED_OUT,
        AttemptState.IGNORED,
        AttemptState.CANCELLED,
        AttemptState.LOST,
        AttemptState.REJECTED,
    ]
)
EVENT = st.one_of(
    st.tuples(st.just("claim"), st.integers(0, 3), st.booleans(), st.booleans()),
    st.tuples(st.just("finish"), st.integers(1, 5), ENDS, st.booleans()),
    st.tuples(st.just("report"), st.integers(0, 3), ENDS, st.booleans()),
    st.tuples(st.just("receive")),
    st.tuples(st.just("close"), st.sampled_from(["expired", "cancelled", "failed"])),
    st.tuples(st.just("tick"), st.integers(1, 200)),
)


def apply(store: Store, event: Any) -> Any:
    """Let one thing happen; a claim answers with its verdict."""
    kind, *more = event
    return getattr(Happening(store), kind)(*more)


class Happening:
    def __init__(self, store: Store) -> None:
        self.store = store

    def claim(self, retries: int, redelivered: bool, known: bool) -> claims.Claim:
        worker = ELSEWHERE if known else None
        return self.store.claim(
            retries=retries, redelivered=redelivered, worker_id=worker
        )

    def finish(self, fence: int, state: AttemptState, comes_back: bool) -> None:
        self.store.finish(fence, state, comes_back=comes_back)

    def report(self, retries: int, state: AttemptState, comes_back: bool) -> None:
        self.store.finish(
            None,
            state,
            retries=retries,
            worker_id=ELSEWHERE,
            lost_cause=LostCause.CHILD_KILLED,
            comes_back=comes_back,
        )

    def receive(self) -> None:
        self._write(lambda c, now: claims.receive(c, [RUN], now=now))

    def close(self, state: str) -> None:
        self._write(
            lambda c, now: ends.close_unstarted(
                c, RUN, state=RunState(state), reason=state, now=now
            )
        )

    def tick(self, seconds: int) -> None:
        self.store.clock.tick(seconds)

    def _write(self, work: Callable[[Any, Any], object]) -> None:
        with self.store.database.begin() as c:
            work(c, self.store.database.now(c))


def is_forward(before: Any, after: Any, on_lost: str) -> bool:
    if before.state in FINAL:
        return bool(after.state == before.state)
    if before.state == "started" and after.state == "planned":
        return on_lost == "rerun"  # lost, and the message is gone
    return RANK[after.state] >= RANK[before.state]


@cache
def template() -> Path:
    """A database with the tables; a copy is faster than making them each time."""
    folder = Path(tempfile.mkdtemp())
    store = Store(folder)
    atexit.register(shutil.rmtree, folder)
    store.database.dispose()
    return folder / "m.sqlite"


@settings(max_examples=120, deadline=None)
@given(
    st.lists(EVENT, max_size=14),
    st.sampled_from(["fail", "rerun"]),
    st.booleans(),
)
def test_any_order_and_repetition(
    events: list[Any], on_lost: str, exclusive: bool
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(template(), Path(folder) / "m.sqlite")
        store = Store(Path(folder))
        store.add_run(on_lost=on_lost, exclusive=exclusive)
        store.add_worker(ELSEWHERE)
        fences: list[int] = []
        try:
            for event in events:
                before = store.run()
                answer = apply(store, event)
                after = store.run()
                if event[0] == "claim" and answer.verdict is Verdict.CLAIM:
                    fences.append(answer.fence)
                assert is_forward(before, after, on_lost), (event, before, after)
                check(store, after, fences)
        finally:
            store.database.dispose()


def check(store: Store, run: Any, fences: list[int]) -> None:
    """What holds after every event."""
    made = store.attempts()
    assert fences == sorted(set(fences)) == [a.fence for a in made]
    running = [a for a in made if a.state == "running"]
    assert len(running) <= 1
    if running:
        assert running[0].fence == run.fence
    if run.state in ("planned", "published", "received", "retrying"):
        assert not running
    assert run.attempts == len(made)
    assert run.retries == sum(a.state == "retried" for a in made)
    assert (run.finished_at is not None) == (run.state in FINAL)
    if run.live_key is not None:
        assert run.state in ("started", "retrying")
    assert len({(a.retries, a.delivery) for a in made}) == len(made)
