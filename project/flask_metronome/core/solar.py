"""The cadence ``solar``: where the sun stands, seen from one place on earth."""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, ClassVar

from flask_metronome.core.instants import Instants, as_utc
from flask_metronome.core.json import JSON, only_keys
from flask_metronome.core.words import solar_words
from flask_metronome.errors import CadenceInvalid

# Event: the search of ephem, the sun's altitude, and whether its centre counts. The
# altitudes are Celery's: sunrise and sunset are of the upper rim, 34' for refraction.
_EVENTS: dict[str, tuple[str, str, bool]] = {
    "dawn_astronomical": ("next_rising", "-18", True),
    "dawn_nautical": ("next_rising", "-12", True),
    "dawn_civil": ("next_rising", "-6", True),
    "sunrise": ("next_rising", "-0:34", False),
    "solar_noon": ("next_transit", "0", False),
    "sunset": ("next_setting", "-0:34", False),
    "dusk_civil": ("next_setting", "-6", True),
    "dusk_nautical": ("next_setting", "-12", True),
    "dusk_astronomical": ("next_setting", "-18", True),
}
EVENTS = tuple(_EVENTS)
"""The events, in the order of a day; the same names as in Celery."""

_DAY = timedelta(days=1)
_HALF = _DAY / 2
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Polar night and polar day are half a year at the very pole.
_SEARCH_DAYS = 370


@dataclass(frozen=True, kw_only=True, slots=True)
class Solar(Instants):
    """An event of the sun, on each day that has it, to the second.

    :param event: one of ``EVENTS``.
    :param lat: latitude, degrees north.
    :param lon: longitude, degrees east.
    """

    kind: ClassVar[str] = "solar"
    event: str
    lat: float
    lon: float

    def next_after(self, moment: datetime) -> datetime | None:
        """The first event strictly after ``moment``.

        None: not within a year, or past the end of the calendar.
        """
        utc = as_utc(moment, "moment")
        day = self._day_of(utc)
        found = self._events(range(day - 1, day + _SEARCH_DAYS))
        return next((event for event in found if event > utc), None)

    def previous_at_or_before(self, moment: datetime) -> datetime | None:
        """The last event at or before ``moment``; None: not within a year."""
        utc = as_utc(moment, "moment")
        day = self._day_of(utc)
        found = self._events(range(day + 1, day - _SEARCH_DAYS, -1))
        return next((event for event in found if event <= utc), None)

    def to_dict(self) -> dict[str, JSON]:
        """As JSON."""
        return {
            "kind": self.kind,
            "event": self.event,
            "lat": self.lat,
            "lon": self.lon,
        }

    def words(self) -> str:
        """«at sunset, seen from 52.52° N 13.41° E»."""
        return solar_words(self.event, self.lat, self.lon)

    def _day_of(self, utc: datetime) -> int:
        """Which mean solar day of this longitude, counted from 1970."""
        return (utc - _EPOCH + self._ahead) // _DAY

    def _events(self, days: range) -> Iterator[datetime]:
        for day in days:
            try:
                midnight = _EPOCH + day * _DAY - self._ahead
                event = _event_of_day(self.event, self.lat, self.lon, midnight)
            except (OverflowError, ValueError):
                # the calendar ends here; ephem's goes on
                return
            if event is not None:
                yield event

    @property
    def _ahead(self) -> timedelta:
        """Mean solar time minus UTC: 15 degrees an hour."""
        return timedelta(hours=self.lon / 15)


def solar(event: str, lat: float, lon: float) -> Solar:
    """A cadence that follows the sun; needs the extra ``solar``.

    :param event: e.g. ``sunset``; the same names as in Celery.
    :param lat: latitude, degrees north, -90 to 90.
    :param lon: longitude, degrees east, -180 to 180.
    :raises CadenceInvalid: an unknown event, a place not on earth, or ``ephem`` is not
        installed.
    """
    if not isinstance(event, str) or event not in _EVENTS:
        raise CadenceInvalid("event", f"one of {', '.join(EVENTS)}", event)
    _ephem()
    return Solar(
        event=event, lat=_degrees("lat", lat, 90), lon=_degrees("lon", lon, 180)
    )


def solar_from_dict(found: Mapping[str, object]) -> Solar:
    """Read what :meth:`Solar.to_dict` wrote.

    :raises CadenceInvalid: a field is missing, unknown or wrong.
    """
    only_keys(found, required=("event", "lat", "lon"))
    return solar(found["event"], found["lat"], found["lon"])  # type: ignore[arg-type]


def _degrees(field: str, value: object, most: int) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise CadenceInvalid(field, "a number of degrees", value)
    if not (math.isfinite(value) and -most <= value <= most):
        raise CadenceInvalid(field, f"-{most} to {most} degrees", value)
    return float(value)


@lru_cache(maxsize=8192)
def _event_of_day(
    event: str, lat: float, lon: float, midnight: datetime
) -> datetime | None:
    """The event between one solar midnight and the next; None: not on this day.

    It is searched from a fixed place, never from the caller's moment: ephem's answers
    differ by fractions of a second with the start of the search, and a due time that
    depends on who asked would be two due times.
    """
    method, horizon, centre = _EVENTS[event]
    noon = _search("next_transit", _observer(lat, lon, "0"), midnight, False)
    if noon is None or method == "next_transit":
        return noon
    starts = noon - _HALF if method == "next_rising" else noon
    found = _search(method, _observer(lat, lon, horizon), starts, centre)
    return found if found is not None and found < starts + _HALF else None


def _search(
    method: str, observer: Any, starts: datetime, centre: bool
) -> datetime | None:
    """Ask ephem for one event after ``starts``, whole seconds; None: the sun stays
    above or below all day."""
    ephem = _ephem()
    options = {"use_center": True} if centre else {}
    begin = ephem.Date(starts.replace(tzinfo=None))
    try:
        found = getattr(observer, method)(ephem.Sun(), start=begin, **options)
    except ephem.CircumpolarError:
        return None
    moment: datetime = found.datetime()
    return moment.replace(microsecond=0, tzinfo=UTC)


def _observer(lat: float, lon: float, horizon: str) -> Any:
    observer = _ephem().Observer()
    # As text these are degrees; as numbers they would be radians.
    observer.lat, observer.lon = str(lat), str(lon)
    observer.elevation = 0
    observer.pressure = 0
    observer.horizon = horizon
    return observer


def _ephem() -> Any:
    """The library that knows the sun, loaded only where a solar cadence is used.

    :raises CadenceInvalid: it is not installed.
    """
    try:
        return importlib.import_module("ephem")
    except ImportError:
        raise CadenceInvalid(
            "kind", "Flask-Metronome[solar] to be installed (ephem)", "solar"
        ) from None
