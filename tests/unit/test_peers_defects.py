"""What is open in other beats' trackers, as scenarios here; each names its issue.

(celery #10107, #6438 and #9653, the nights on which clocks change, are in
``test_cron_dst.py``.)
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from flask import Flask
from sqlalchemy import select, update

from flask_metronome import Definition, Metronome, cron, every, once, schema
from flask_metronome.beat import Ticker
from flask_metronome.core.cadence import Cadence
from flask_metronome.models import runs, schedules
from flask_metronome.state import State, state_of
from flask_metronome.testing import SettableClock

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


def work() -> None:
    """The one task."""


class House:
    """An app, its database, and as many beats as are asked for."""

    def __init__(self, app: Flask) -> None:
        self.metronome = Metronome(app)
        self.metronome.task(name="t")(work)
        self.state: State = state_of(app)
        self.clock = SettableClock()
        self.clock.set(NOON)
        self.state.database.clock = self.clock
        schema.init_db(self.state.database)

    def beat(self, name: str = "beat") -> Ticker:
        """A beat that knows nothing of any before it: a restart, or another one."""
        return Ticker(self.state.database, self.state.settings, name)

    def add(self, key: str, cadence: Cadence, **fields: Any) -> None:
        fields.setdefault("overlap", "allow")
        self.metronome.schedules.add(
            Definition(key=key, task="t", cadence=cadence, **fields)
        )

    def pass_by(self, hours: float, step_seconds: float = 900) -> None:
        """Time goes on, and one beat with it."""
        beat = self.beat()
        for _ in range(int(hours * 3600 / step_seconds)):
            self.clock.tick(step_seconds)
            beat.tick()

    def planned(self, key: str) -> list[datetime]:
        wanted = select(runs.c.due_at).where(
            runs.c.schedule_key == key, runs.c.state == "planned"
        )
        with self.state.database.read() as connection:
            return sorted(connection.execute(wanted).scalars())


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    app = Flask("house", instance_path=str(tmp_path))
    app.config.update(
        METRONOME_DATABASE_URL=f"sqlite:///{tmp_path / 'm.sqlite'}",
        METRONOME_BROKER_URL="amqp://nobody@127.0.0.1:1//",
    )
    made = House(app)
    yield made
    made.state.database.dispose()


def test_celery_7649_what_begins_later_holds_up_nothing(house: House) -> None:
    """An entry that said «later» stayed on top of the heap, and beat slept on it."""
    house.add("in-a-year", every(1), start_at=NOON + timedelta(days=365))
    house.add("now", every(10))
    beat = house.beat()
    for _ in range(6):
        house.clock.tick(10)
        report, now = beat.tick()
        assert report.next_due_at == now + timedelta(seconds=10)
    assert len(house.planned("now")) == 6


@pytest.mark.parametrize("server", ["UTC", "America/Los_Angeles", "Asia/Tokyo"])
def test_django_celery_beat_956_an_hour_far_from_the_servers_is_not_left_out(
    house: House, monkeypatch: pytest.MonkeyPatch, server: str
) -> None:
    """Rows more than two hours from the server's hour were not even loaded."""
    monkeypatch.setenv("TZ", server)
    zones = ("Pacific/Kiritimati", "Etc/GMT+12", "Asia/Kathmandu", "Pacific/Chatham")
    for zone in zones:
        house.add(zone.replace("/", ":").replace("+", ":"), cron("30 9 * * *", zone))
    house.pass_by(24)
    for zone in zones:
        (due,) = house.planned(zone.replace("/", ":").replace("+", ":"))
        local = due.astimezone(ZoneInfo(zone))
        assert (local.hour, local.minute) == (9, 30)


def test_django_celery_beat_683_neither_an_edit_nor_enabling_fires_at_once(
    house: House,
) -> None:
    house.add("daily", cron("0 9 * * *"))
    operations = house.metronome.schedules
    earlier = Definition(key="daily", task="t", cadence=cron("0 11 * * *"))
    operations.replace("daily", earlier)
    operations.pause("daily")
    operations.resume("daily")
    house.pass_by(22)
    assert house.planned("daily") == []
    house.pass_by(1)
    assert house.planned("daily") == [NOON + timedelta(hours=23)]


def test_django_celery_beat_828_a_one_off_does_not_run_again_after_a_restart(
    house: House,
) -> None:
    house.add("once", once(NOON + timedelta(minutes=1)))
    house.clock.tick(60)
    for _ in range(3):
        house.beat().tick()
        house.clock.tick(1)
    assert len(house.planned("once")) == 1
    assert house.metronome.schedules.get("once").state == "finished"


def test_django_celery_beat_558_beats_side_by_side_send_once(house: House) -> None:
    house.add("often", every(5))
    beats = [house.beat(name) for name in "abc"]
    outbox = []
    for _ in range(12):
        house.clock.tick(5)
        for beat in beats:
            outbox += beat.tick()[0].outbox
    assert len(outbox) == len({row.id for row in outbox}) == 12


def test_django_celery_beat_634_deploying_more_often_than_it_is_due_delays_nothing(
    house: House,
) -> None:
    """The interval began anew with each restart and so never ended."""
    house.add("weekly", every(7, "days", anchor=NOON))
    for _ in range(15):
        house.pass_by(24, step_seconds=21_600)
    due = [NOON + timedelta(days=7), NOON + timedelta(days=14)]
    assert house.planned("weekly") == due


def test_redbeat_218_a_beat_that_stood_still_for_an_hour_just_goes_on(
    house: House,
) -> None:
    """Without its lock the process died; here there is none to lose."""
    house.add("often", every(60))
    asleep = house.beat("asleep")
    house.clock.tick(60)
    asleep.tick()
    house.pass_by(1, step_seconds=60)
    assert asleep.tick()[0].planned == 0
    house.clock.tick(60)
    assert asleep.tick()[0].planned == 1
    assert len(house.planned("often")) == 62


def test_redbeat_291_what_a_beat_remembers_may_vanish_but_no_schedule(
    house: House,
) -> None:
    """An entry whose hash was evicted was dropped from the schedule, silently."""
    house.add("often", every(60))
    house.pass_by(0.05, step_seconds=60)
    with house.state.database.begin() as connection:
        forget = dict.fromkeys(("next_due_at", "miss_after_at", "last_due_at"))
        connection.execute(update(schedules).values(forget))
    house.beat().tick()
    house.pass_by(0.05, step_seconds=60)
    assert len(house.planned("often")) == 6
