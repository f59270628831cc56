"""The shop's chores as tasks with schedules, in three lanes and one nobody serves."""

from __future__ import annotations

from typing import Any

from flask_metronome.core.cadence import cron, every
from flask_metronome.demo import chores
from flask_metronome.demo.chores import SupplierBusy
from flask_metronome.demo.shop import Shop
from flask_metronome.extension import Metronome

ZONE = "Europe/Berlin"
MAIL, REPORTS, MAINTENANCE = "mail", "reports", "maintenance"
#: The warehouse has a lane, but its worker was never started.
WAREHOUSE = "warehouse"
SERVED = ("default", MAIL, REPORTS, MAINTENANCE)

_EARLY_TRIES_SECONDS = 2
_PICKING_DEADLINE_SECONDS = 10


def declare(metronome: Metronome, shop: Shop) -> None:
    """Declare every task and schedule of the shop."""
    _declare_mail(metronome, shop)
    _declare_reports(metronome, shop)
    _declare_maintenance(metronome, shop)
    _declare_troubled(metronome, shop)


def _declare_mail(metronome: Metronome, shop: Shop) -> None:
    @metronome.task(
        name="shop.send_newsletter",
        lane=MAIL,
        key="newsletter",
        schedule=cron("0 9 * * mon", tz=ZONE),
        policies={"description": "To everybody who wants it, every Monday."},
    )
    def send_newsletter(limit: int | None = None) -> int:
        return chores.send_newsletter(shop, limit=limit)

    metronome.schedule(
        "newsletter-preview",
        "shop.send_newsletter",
        every(20),
        kwargs={"limit": 3},
        description="The newsletter to three customers, to see it working.",
    )


def _declare_reports(metronome: Metronome, shop: Shop) -> None:
    @metronome.task(
        name="shop.send_report",
        lane=REPORTS,
        key="send-report",
        schedule=cron("0 8 * * *", tz=ZONE),
        policies={"catchup": "latest", "description": "Daily sales, CSV and chart."},
    )
    def send_report(name: str | None = None, mail: bool = True) -> list[str]:
        return chores.report_sales(shop, name=name, mail=mail)

    metronome.schedule(
        "report-preview",
        "shop.send_report",
        every(30),
        kwargs={"name": "sales-preview", "mail": False},
        description="The sales report without the mail, to see it working.",
    )


def _declare_maintenance(metronome: Metronome, shop: Shop) -> None:
    @metronome.task(
        name="shop.welcome_visitors",
        lane=MAINTENANCE,
        key="visitors",
        bind=True,
        schedule=every(5),
        policies={"description": "Business goes on: visits and orders."},
    )
    def welcome_visitors(task: Any) -> int:
        return chores.welcome_visitors(shop, seed=str(task.request.id))

    @metronome.task(
        name="shop.purge_sessions",
        lane=MAINTENANCE,
        key="purge-sessions",
        schedule=every(10),
        policies={"description": "Deletes the sessions that have expired."},
    )
    def purge_sessions() -> int:
        return chores.purge_sessions(shop)

    @metronome.task(
        name="shop.update_tiers",
        lane=MAINTENANCE,
        key="update-tiers",
        schedule=every(1, "minute"),
        policies={"description": "Gold, silver or bronze, by what was spent."},
    )
    def update_tiers() -> dict[str, int]:
        return chores.update_tiers(shop)


def _declare_troubled(metronome: Metronome, shop: Shop) -> None:
    @metronome.task(
        name="shop.restock",
        lane=MAINTENANCE,
        key="restock",
        bind=True,
        schedule=every(10),
        policies={"description": "The supplier is busy now and then: retried."},
        autoretry_for=(SupplierBusy,),
        max_retries=5,
        default_retry_delay=_EARLY_TRIES_SECONDS,
    )
    def restock(task: Any) -> int:
        headers = task.request.headers or {}
        return chores.restock(
            shop, tries=task.request.retries, due_at=headers.get("metronome_due_at")
        )

    @metronome.task(
        name="shop.import_prices",
        lane=REPORTS,
        key="import-prices",
        schedule=every(30),
        policies={"description": "The feed has been broken for weeks: fails."},
    )
    def import_prices() -> None:
        chores.import_prices()

    @metronome.task(
        name="shop.pick_orders",
        lane=WAREHOUSE,
        key="pick-orders",
        schedule=every(20),
        policies={
            "start_deadline_seconds": _PICKING_DEADLINE_SECONDS,
            "description": "The warehouse's worker was never started: missed.",
        },
    )
    def pick_orders() -> None:
        raise AssertionError("no worker serves the warehouse's lane")
