"""Run the benchmarks and print their tables."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from benchmarks import (
    async_views,
    cadences,
    dispatch,
    edits,
    publishing,
    results,
    sweeps,
    ticks,
)
from benchmarks.table import Table

BENCHMARKS: dict[str, Callable[..., Table]] = {
    "cadences": cadences.measure,
    "ticks": ticks.measure,
    "publishing": publishing.measure,
    "dispatch": dispatch.measure,
    "edits": edits.measure,
    "results": results.measure,
    "sweeps": sweeps.measure,
    "async_views": async_views.measure,
}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--quick", action="store_true", help="only see that they run")
    chosen = parser.parse_args()
    unknown = sorted(set(chosen.names) - set(BENCHMARKS))
    if unknown:
        known = ", ".join(BENCHMARKS)
        parser.error(f"NAME: expected one of {known}, got {unknown[0]!r}.")
    for name in chosen.names or BENCHMARKS:
        print(BENCHMARKS[name](quick=chosen.quick), end="\n\n", flush=True)


if __name__ == "__main__":
    main()
