"""What is due in a span to come, of many schedules. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

from flask_metronome.core.preview import PreviewInstant, preview
from flask_metronome.core.timing import Timing

_LEAST = timedelta(microseconds=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Coming:
    """One due time to come of one schedule."""

    key: str
    due: PreviewInstant


@dataclass(frozen=True, kw_only=True, slots=True)
class Agenda:
    """What is due in a span.

    :param coming: single due times, the soonest first.
    :param often: the keys of schedules that are due too often to be listed.
    """

    coming: tuple[Coming, ...]
    often: tuple[str, ...]


def agenda(
    timings: Mapping[str, tuple[Timing, datetime]],
    until: datetime,
    *,
    most_each: int,
    most: int,
) -> Agenda:
    """All due times up to ``until``.

    :param timings: by key, and when each is due next.
    :param most_each: a schedule that is due more often is only named.
    :param most: due times listed at the most.
    """
    coming: list[Coming] = []
    often: list[str] = []
    for key, (timing, first) in timings.items():
        found = preview(timing, first - _LEAST, most_each + 1)
        within = [due for due in found if due.at <= until]
        if len(within) > most_each:
            often.append(key)
        else:
            coming += _of(key, within)
    coming.sort(key=lambda item: (item.due.at, item.key))
    return Agenda(coming=tuple(islice(coming, most)), often=tuple(often))


def _of(key: str, dues: Iterable[PreviewInstant]) -> list[Coming]:
    return [Coming(key=key, due=due) for due in dues]
