"""Spans through beat, broker and worker, in processes of their own."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clockwork import Clockwork
from spans import read_spans
from sqlalchemy import select

from flask_metronome.models import attempts


@pytest.fixture
def clockwork(vhost_url: str, database_url: str, tmp_path: Path) -> Iterator[Clockwork]:
    made = Clockwork(broker_url=vhost_url, database_url=database_url, folder=tmp_path)
    yield made
    made.stop()


@pytest.mark.parametrize("pool", ["threads", "prefork"])
def test_every_attempt_links_to_what_sent_its_run(
    clockwork: Clockwork, monkeypatch: pytest.MonkeyPatch, pool: str
) -> None:
    file = clockwork.folder / "spans"
    monkeypatch.setenv("METRONOME_TEST_SPANS", str(file))
    clockwork.add("steady", "clock.default")
    clockwork.add("flaky", "clock.flaky", seconds=4)
    clockwork.worker(pool=pool)
    clockwork.beat()
    clockwork.until(lambda: len(clockwork.lines()) >= 5, "five bodies")
    runs = [run for run in clockwork.settle() if run.state == "succeeded"]

    by_run: dict[str, dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
    for span in read_spans(file):
        run = span["attributes"]["metronome.run"]
        by_run[run][span["kind"]].append(span)
    assert {run.schedule_key for run in runs} == {"steady", "flaky"}
    for run in runs:
        (sent,) = by_run[run.id]["SpanKind.PRODUCER"]
        consumers = by_run[run.id]["SpanKind.CONSUMER"]
        assert len(consumers) == run.retries + 1
        for span in consumers:
            assert [link["context"]["span_id"] for link in span["links"]] == [
                sent["context"]["span_id"]
            ]
            assert span["context"]["trace_id"] != sent["context"]["trace_id"]
            assert span["start_time"] >= sent["start_time"]
        assert traces_of(clockwork, run.id) == {
            sent["context"]["trace_id"].removeprefix("0x")
        }


def traces_of(clockwork: Clockwork, run_id: str) -> set[str]:
    """What the attempts of a run are stored with."""
    statement = select(attempts.c.trace_id).where(attempts.c.run_id == run_id)
    with clockwork.database.read() as connection:
        return set(connection.execute(statement).scalars())
