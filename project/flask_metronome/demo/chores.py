"""What the shop's tasks do, as plain functions; only ``tasks.py`` knows Celery."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, func, select, update

from flask_metronome.demo.generated import visit
from flask_metronome.demo.models import Customer, Order, Product, Session
from flask_metronome.demo.newsletter import letter_for, report_mail, send
from flask_metronome.demo.sales_report import sales_by_day, write_report
from flask_metronome.demo.shop import Shop

_TIER_DAYS = 30
_SILVER_CENTS = 20_000
_GOLD_CENTS = 60_000
_RESTOCK_BELOW = 10


class SupplierBusy(Exception):
    """The supplier does not answer just now; asking again helps."""


class FeedBroken(Exception):
    """The price feed cannot be read; asking again does not help."""


def send_newsletter(shop: Shop, *, limit: int | None = None) -> int:
    """Send the offers to everybody who wants them; how many letters went out."""
    with shop.begin() as transaction:
        wanted = (
            select(Customer)
            .where(Customer.wants_newsletter)
            .order_by(func.random() if limit else Customer.id)
            .limit(limit)
        )
        customers = transaction.scalars(wanted).all()
        offers = transaction.scalars(
            select(Product).where(Product.stock > 0).order_by(func.random()).limit(3)
        ).all()
        return send(shop, (letter_for(customer, offers) for customer in customers))


def report_sales(shop: Shop, *, name: str | None, mail: bool) -> list[str]:
    """Write the sales report, and mail it if asked; the names of its files.

    :param name: how the files are called; by default after the day.
    """
    now = datetime.now(UTC)
    with shop.begin() as transaction:
        sales = sales_by_day(transaction, now)
    files = write_report(shop.reports, name or f"sales-{now:%Y-%m-%d}", sales)
    if mail:
        send(shop, [report_mail(files)])
    return [path.name for path in files]


def purge_sessions(shop: Shop) -> int:
    """Delete the sessions that have expired; how many."""
    with shop.begin() as transaction:
        old = delete(Session).where(Session.expires_at < datetime.now(UTC))
        count: int = transaction.execute(old).rowcount  # type: ignore[attr-defined]
        transaction.commit()
    return count


def update_tiers(shop: Shop) -> dict[str, int]:
    """Make customers bronze, silver or gold by what they spent lately."""
    since = datetime.now(UTC) - timedelta(days=_TIER_DAYS)
    spent = (
        select(Order.customer_id)
        .where(Order.ordered_at > since)
        .group_by(Order.customer_id)
    )
    total = func.sum(Order.total_cents)
    counts = {}
    with shop.begin() as transaction:
        transaction.execute(update(Customer).values(tier="bronze"))
        for tier, least in (("silver", _SILVER_CENTS), ("gold", _GOLD_CENTS)):
            rich = spent.having(total >= least)
            found = transaction.execute(
                update(Customer).where(Customer.id.in_(rich)).values(tier=tier)
            )
            counts[tier] = int(found.rowcount)  # type: ignore[attr-defined]
        transaction.commit()
    return counts


def welcome_visitors(shop: Shop, *, seed: str) -> int:
    """A moment of business, so that there is something to purge and to report.

    :param seed: the same run brings the same visitors.
    :returns: how many orders were made.
    """
    with shop.begin() as transaction:
        orders = visit(transaction, datetime.now(UTC), random.Random(seed))
        transaction.commit()
    return orders


def restock(shop: Shop, *, tries: int, due_at: str | None) -> int:
    """Order what is running out; how many products.

    The supplier is busy for the first 0, 1 or 2 tries, by the due time, so that a
    run behaves the same whenever it is repeated.

    :param tries: how often it was tried before.
    :param due_at: when the run was due, ISO 8601; None: now, it has no schedule.
    :raises SupplierBusy: try again.
    """
    due = datetime.fromisoformat(due_at) if due_at else datetime.now(UTC)
    busy_for = int(due.timestamp()) // 10 % 3
    if tries < busy_for:
        raise SupplierBusy(f"the supplier is busy, try {tries + 1} of {busy_for + 1}")
    with shop.begin() as transaction:
        low = update(Product).where(Product.stock < _RESTOCK_BELOW).values(stock=50)
        count: int = transaction.execute(low).rowcount  # type: ignore[attr-defined]
        transaction.commit()
    return count


def import_prices() -> None:
    """Read the price feed, whose publisher has been sending rubbish for weeks.

    :raises FeedBroken: always.
    """
    line = "4711;Oak tray;twelve"
    price = line.split(";")[2]
    if not price.isdecimal():
        raise FeedBroken(f"line 1: expected a price in cents, got {price!r}")
