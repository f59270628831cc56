"""What overlap policies make of real bodies, from beat to worker."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from clockwork import Clockwork
from sqlalchemy import select

from flask_metronome.models import attempts


@pytest.fixture
def clockwork(vhost_url: str, database_url: str, tmp_path: Path) -> Iterator[Clockwork]:
    made = Clockwork(broker_url=vhost_url, database_url=database_url, folder=tmp_path)
    yield made
    made.stop()


def executions(clockwork: Clockwork, key: str) -> list[Any]:
    """The schedule's attempts that ended, in the order in which they began."""
    mine = {run.id for run in clockwork.runs(key)}
    statement = select(attempts).order_by(attempts.c.started_at)
    with clockwork.database.read() as connection:
        found = connection.execute(statement).all()
    return [one for one in found if one.run_id in mine and one.ended_at]


def work(clockwork: Clockwork) -> list[Any]:
    """The runs, without what fell due just when the schedule was paused."""
    return [run for run in clockwork.runs() if run.state != "skipped"]


def test_cancel_previous_stops_the_body_and_frees_its_process(
    clockwork: Clockwork,
) -> None:
    clockwork.worker(pool="prefork")
    clockwork.beat()
    clockwork.add("k", "clock.endless", seconds=2, overlap="cancel_previous")
    # two processes: a third body begins only where one was stopped
    clockwork.until(lambda: len(clockwork.lines()) >= 4, "four bodies to begin")
    clockwork.pause_all()
    # the newest may not have begun yet
    clockwork.until(lambda: work(clockwork)[-1].state == "started", "the newest run")
    *before, _ = work(clockwork)
    before = [run for run in before if run.started_at]
    assert {(run.state, run.reason) for run in before} == {
        ("cancelled", "cancel_previous")
    }
    clockwork.until(
        lambda: len(executions(clockwork, "k")) >= len(before), "their attempts to end"
    )
    assert {one.state for one in executions(clockwork, "k")} == {"cancelled"}


def test_whoever_waits_begins_when_the_one_before_has_ended(
    clockwork: Clockwork,
) -> None:
    clockwork.worker()
    clockwork.beat()
    clockwork.add("k", "clock.slow", seconds=1, overlap="queue_one")
    clockwork.until(lambda: len(clockwork.lines()) >= 4, "four bodies")
    found = clockwork.settle()
    bodies = executions(clockwork, "k")
    assert all(one.ended_at <= two.started_at for one, two in pairwise(bodies))
    left_out = {(run.state, run.reason) for run in found if not run.started_at}
    assert left_out == {("skipped", "overlap")}, "the newest waits, nobody else"
