"""How many runs a second a beat hands to the broker, each confirmed.

On the broker of ``METRONOME_TEST_BROKER_URL``, else the best this machine can start.
"""

from __future__ import annotations

import os
import tempfile
import time
import uuid
from pathlib import Path

from benchmarks.table import Table
from metronome_broker import Lane, Topology, pick_broker, routing_key
from metronome_broker.message import OutboundMessage
from metronome_broker.publisher import Publisher

WINDOWS = (1, 20, 200)


def measure(*, quick: bool) -> Table:
    """Publish to a lane of its own, with several windows of unconfirmed messages."""
    count = 50 if quick else 2_000
    with tempfile.TemporaryDirectory() as folder:
        broker = pick_broker(
            url=os.environ.get("METRONOME_TEST_BROKER_URL"),
            choice="embedded" if quick else "auto",
            data_dir=Path(folder),
        )
        try:
            topology = Topology(lanes=(Lane(name="bench"),), exchange="metronome-bench")
            topology.apply(broker.url)
            rows = [
                (str(window), _speed(broker.url, topology, window, count))
                for window in WINDOWS
            ]
        finally:
            broker.stop()
    return Table(
        title=f"publish {count} persistent runs, confirmed, to: {broker.kind}",
        columns=("window", "runs per second"),
        rows=rows,
    )


def _speed(url: str, topology: Topology, window: int, count: int) -> float:
    publisher = Publisher(url, window=window, confirm_timeout=60)
    try:
        publisher.publish([_message(topology)])
        messages = [_message(topology) for _ in range(count)]
        began = time.perf_counter()
        report = publisher.publish(messages)
        seconds = time.perf_counter() - began
    finally:
        publisher.close()
    if len(report.confirmed) != count:
        raise RuntimeError(f"only {len(report.confirmed)} confirmed: {report.error}")
    return count / seconds


def _message(topology: Topology) -> OutboundMessage:
    return OutboundMessage(
        run_id=str(uuid.uuid4()),
        exchange=topology.run_exchange,
        routing_key=routing_key("bench", "bench.task"),
        body=b'[[], {}, {"callbacks": null}]',
    )
