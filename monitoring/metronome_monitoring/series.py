"""Sums as the database keeps them → samples of a family."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from prometheus_client.core import HistogramMetricFamily

from metronome_monitoring.buckets import INFINITE, bound_label

_NO_SUMS: Mapping[str, int] = {}


def seeded(sums: Mapping[str, int], values: Sequence[str]) -> Iterator[tuple[str, int]]:
    """These labels, at 0 if need be, then whatever else there is."""
    for value in values:
        yield value, sums.get(value, 0)
    for value in sorted(sums.keys() - set(values)):
        yield value or "other", sums[value]


def add_histogram(
    family: HistogramMetricFamily,
    labels: Sequence[str],
    sums: Mapping[str, Mapping[str, int]],
    name: str,
    bounds: Sequence[float],
    *,
    prefix: str = "",
) -> None:
    """Add one histogram, all of its buckets there: single counts become cumulative.

    :param prefix: of the labels, where one sum holds several histograms.
    """
    counts = sums.get(name, _NO_SUMS)
    total = 0
    buckets: list[tuple[str, float]] = []
    for bound in [*(bound_label(b) for b in bounds), INFINITE]:
        total += counts.get(prefix + bound, 0)
        buckets.append((bound, total))
    milliseconds = sums.get(f"{name}_ms", _NO_SUMS).get(prefix, 0)
    family.add_metric(list(labels), buckets=buckets, sum_value=milliseconds / 1000)
