"""The demo's shop: its data, its chores, its reports."""

from __future__ import annotations

import asyncio
import csv
import email
import smtplib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree

import pytest
from aiosmtpd.smtp import SMTP
from sqlalchemy import func, select

from flask_metronome.app import create_app
from flask_metronome.demo import chores, tasks
from flask_metronome.demo.chores import FeedBroken, SupplierBusy
from flask_metronome.demo.command import leave_out_settings
from flask_metronome.demo.generated import CUSTOMERS, shop_data
from flask_metronome.demo.models import Customer, Order, Session
from flask_metronome.demo.sales_report import DayOfSales, chart_svg, sales_by_day
from flask_metronome.demo.shop import Shop, ShopSettings
from flask_metronome.demo.smtp_sink import Sink
from flask_metronome.state import state_of

NOON = datetime(2027, 1, 31, 12, tzinfo=UTC)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(ShopSettings.read({}, tmp_path))
    yield shop
    shop.close()


@contextmanager
def mail_server(folder: Path) -> Iterator[str]:
    """The sink on a free port of this process."""
    loop = asyncio.new_event_loop()
    sink = Sink(folder)
    server = loop.run_until_complete(
        loop.create_server(lambda: SMTP(sink, loop=loop), "127.0.0.1", 0)
    )
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        loop.run_until_complete(asyncio.sleep(0.01))
        loop.close()


def test_the_same_seed_makes_the_same_shop() -> None:
    def said(seed: int) -> list[str]:
        found = []
        for rows in shop_data(NOON, seed=seed):
            for row in rows:
                values = {k: v for k, v in vars(row).items() if k[0] != "_"}
                found.append(repr(sorted(values.items())))
        return found

    assert said(1) == said(1)
    assert said(1) != said(2)


def test_the_shop_is_filled_once_and_kept(shop: Shop) -> None:
    with shop.begin() as transaction:
        assert transaction.scalar(select(func.count(Customer.id))) == CUSTOMERS
        orders = transaction.scalar(select(func.count(Order.id)))
    again = Shop(shop.settings)
    with again.begin() as transaction:
        assert transaction.scalar(select(func.count(Order.id))) == orders
    again.close()


def test_purge_deletes_what_has_expired_and_nothing_else(shop: Shop) -> None:
    assert chores.purge_sessions(shop) > 100
    assert chores.purge_sessions(shop) == 0
    with shop.begin() as transaction:
        left = transaction.scalars(select(Session.expires_at)).all()
    assert left
    assert min(left) > datetime.now(UTC) - timedelta(minutes=1)


def test_tiers_follow_what_was_spent(shop: Shop) -> None:
    counts = chores.update_tiers(shop)
    with shop.begin() as transaction:
        found = dict(
            transaction.execute(
                select(Customer.tier, func.count()).group_by(Customer.tier)
            ).all()
        )
    assert found["gold"] == counts["gold"] > 0
    assert found["silver"] == counts["silver"] - counts["gold"] > 0
    assert found["bronze"] > 0


def test_the_same_run_brings_the_same_visitors(shop: Shop) -> None:
    first = chores.welcome_visitors(shop, seed="5")
    with pytest.raises(Exception, match="UNIQUE"):
        chores.welcome_visitors(shop, seed="5")
    assert first >= 0


@pytest.mark.parametrize(("second", "busy_for"), [(0, 0), (10, 1), (20, 2), (30, 0)])
def test_the_supplier_is_busy_by_the_due_time(
    shop: Shop, second: int, busy_for: int
) -> None:
    due = datetime(2027, 1, 31, 12, 0, second, tzinfo=UTC).isoformat()
    for tries in range(busy_for):
        with pytest.raises(SupplierBusy):
            chores.restock(shop, tries=tries, due_at=due)
    assert chores.restock(shop, tries=busy_for, due_at=due) >= 0


def test_the_price_feed_is_always_broken() -> None:
    with pytest.raises(FeedBroken, match="expected a price in cents, got 'twelve'"):
        chores.import_prices()


def test_the_report_has_a_table_and_a_chart_of_the_same_days(shop: Shop) -> None:
    assert chores.report_sales(shop, name="x", mail=False) == ["x.csv", "x.svg"]
    with (shop.reports / "x.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 14
    assert rows == sorted(rows, key=lambda row: row["day"])
    assert sum(int(row["orders"]) for row in rows) > 14
    ElementTree.parse(shop.reports / "x.svg")


def test_sales_are_summed_by_day(shop: Shop) -> None:
    with shop.begin() as transaction:
        now = datetime.now(UTC)
        whole = sales_by_day(transaction, now, days=90)
        total = transaction.scalar(select(func.sum(Order.total_cents)))
    assert sum(day.cents for day in whole) == total
    assert [one.day for one in whole] == sorted(one.day for one in whole)


def test_an_empty_chart_is_still_one() -> None:
    day = DayOfSales(day=NOON.date(), orders=0, cents=0)
    for sales in ([], [day]):
        assert ElementTree.fromstring(chart_svg(sales)).tag.endswith("svg")


def test_mail_goes_over_smtp_into_the_sink(shop: Shop, tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    with mail_server(inbox) as address:
        sending = Shop(replace(shop.settings, smtp=address))
        assert chores.send_newsletter(sending, limit=2) == 2
        chores.report_sales(sending, name="r", mail=True)
        sending.close()
    mails = [email.message_from_bytes(path.read_bytes()) for path in inbox.iterdir()]
    assert sorted(mail["Subject"] for mail in mails) == [
        "Sales report",
        "This week",
        "This week",
    ]
    report = next(mail for mail in mails if mail["Subject"] == "Sales report")
    names = [part.get_filename() for part in report.walk()]
    assert {"r.csv", "r.svg"} <= set(names)


def test_mail_becomes_files_where_there_is_no_server(shop: Shop) -> None:
    assert chores.send_newsletter(shop, limit=3) == 3
    assert len(list(shop.mails.glob("*.eml"))) == 3


def test_a_mail_server_that_is_away_is_an_error(shop: Shop) -> None:
    away = Shop(replace(shop.settings, smtp="127.0.0.1:1"))
    with pytest.raises((OSError, smtplib.SMTPException)):
        chores.send_newsletter(away, limit=1)
    away.close()


def test_the_reference_app_declares_the_schedules_of_the_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METRONOME_DATA_DIR", str(tmp_path))
    state = state_of(create_app())
    declared = state.declared()["code"]
    words = {key: found.cadence.words() for key, found in declared.items()}
    assert words["purge-sessions"] == "every 10 seconds"
    assert words["newsletter"] == "every Monday at 09:00 (Europe/Berlin)"
    assert words["send-report"] == "every day at 08:00 (Europe/Berlin)"
    assert {found.lane for found in declared.values()} == {
        tasks.MAIL,
        tasks.REPORTS,
        tasks.MAINTENANCE,
        tasks.WAREHOUSE,
    }


def test_the_shop_shows_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METRONOME_DATA_DIR", str(tmp_path))
    app = create_app()
    client = app.test_client()
    page = client.get("/").get_data(as_text=True)
    assert "/metronome/" in page
    assert f"<dd>{CUSTOMERS}</dd>" in page
    assert client.get("/reports/../shop.sqlite").status_code == 404
    assert client.get("/reports/nope.csv").status_code == 404
    app.extensions["shop"].close()


def test_the_demo_takes_nothing_of_another_app() -> None:
    environ = {
        "METRONOME_DATABASE_URL": "postgresql://in.production/app",
        "METRONOME_SMTP_URL": "smtp://in.production",
        "METRONOME_BROKER_URL": "amqp://in.production//",
        "METRONOME_BROKER": "docker",
        "METRONOME_DEMO_SMTP": "127.0.0.1:2525",
        "PATH": "/bin",
    }
    assert leave_out_settings(environ) == [
        "METRONOME_BROKER_URL",
        "METRONOME_DATABASE_URL",
        "METRONOME_SMTP_URL",
    ]
    assert sorted(environ) == ["METRONOME_BROKER", "METRONOME_DEMO_SMTP", "PATH"]
