"""The periods in which nobody was watching, with the statistics of their span."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

from flask_metronome.core.unknown import MONITOR_LEASE
from flask_metronome.models import leases, unknown_periods


def _written(site: Any, hours: float, cause: str) -> None:
    now = site.clock.moment
    began = now - timedelta(hours=hours)
    ended = began + timedelta(minutes=10)
    site.write(unknown_periods, from_at=began, to_at=ended, cause=cause)


def _swept(site: Any, seconds: float) -> None:
    moment = site.clock.moment - timedelta(seconds=seconds)
    site.write(
        leases,
        name=MONITOR_LEASE,
        holder=str(uuid.uuid4()),
        epoch=1,
        expires_at=moment,
        touched_at=moment,
    )


def test_they_are_shown_with_the_span_that_they_meet(site: Any) -> None:
    site.schedule("report")
    _written(site, 2, "no_monitor")
    _written(site, 0.5, "no_database")
    _swept(site, 30)
    hour = site.get("/stats?window=1h").json["unknown_periods"]
    assert [period["cause"] for period in hour] == ["no_database"]
    assert hour[0]["from_at"] < hour[0]["to_at"]
    day = site.get("/schedules/report/stats").json["unknown_periods"]
    assert [period["cause"] for period in day] == ["no_database", "no_monitor"]


def test_one_that_goes_on_has_no_end(site: Any) -> None:
    _swept(site, 31)
    (period,) = site.get("/stats").json["unknown_periods"]
    assert (period["to_at"], period["cause"]) == (None, "no_monitor")


def test_where_no_monitor_ever_ran_nothing_is_said(site: Any) -> None:
    assert site.get("/stats").json["unknown_periods"] == []
