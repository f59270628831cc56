"""Print how the beats that are installed here do, side by side."""

from __future__ import annotations

import argparse

from benchmarks.peers import rounds
from benchmarks.peers.parts import Parts, parts
from benchmarks.peers.trial import Kind, available
from benchmarks.table import Table


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers")
    parser.add_argument("--quick", action="store_true", help="only see that it runs")
    quick = parser.parse_args().quick
    with parts() as made:
        kinds = available(made)
        print(f"beats: {', '.join(kind.name for kind in kinds)}", flush=True)
        print(_faults(kinds, made, quick), end="\n\n", flush=True)
        print(_speed(kinds, made, quick), flush=True)


def _faults(kinds: list[Kind], made: Parts, quick: bool) -> Table:
    size = {"schedules": 3, "seconds": 6.0} if quick else _SIZE
    rows = []
    for kind in kinds:
        found = [
            act(kind, made, **size)  # type: ignore[arg-type]
            for act in (rounds.two_beats, rounds.killed, rounds.broker_away)
        ]
        rows.append((kind.name, *(f"{one.arrived:.0f}" for one in found)))
    return Table(
        title=f"of 100 due runs so many arrive ({size['schedules']} schedules, "
        f"due every second, until {size['seconds']:g} s later)",
        columns=("beat", "two beats", "killed for 5 s", "broker away for 5 s"),
        rows=rows,
    )


_SIZE = {"schedules": 20, "seconds": 30.0}


def _speed(kinds: list[Kind], made: Parts, quick: bool) -> Table:
    sizes = (5,) if quick else (100, 1000, 3000)
    rows = []
    for schedules in sizes:
        for kind in kinds:
            one = rounds.steady(
                kind, made, schedules=schedules, seconds=5 if quick else 20
            )
            rows.append(
                (
                    kind.name,
                    f"{schedules:,}",
                    f"{one.arrived:.0f}",
                    f"{one.gap:.2f}",
                    f"{one.processor:.2f}",
                )
            )
    return Table(
        title="one beat on PostgreSQL or its own store, RabbitMQ with confirms",
        columns=(
            "beat",
            "due each second",
            "arrived of 100",
            "p99 between runs, s (1 is right)",
            "processor ms a run",
        ),
        rows=rows,
    )


if __name__ == "__main__":
    main()
