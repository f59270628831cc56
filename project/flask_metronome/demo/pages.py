"""The shop's own front page: what it has, what its tasks made."""

from __future__ import annotations

from pathlib import Path

from flask import Blueprint, Response, render_template, send_from_directory
from sqlalchemy import func, select

from flask_metronome.demo.models import Base, Customer, Order, Product, Session
from flask_metronome.demo.shop import Shop

_COUNTED: dict[str, type[Base]] = {
    "customers": Customer,
    "products": Product,
    "sessions": Session,
    "orders": Order,
}
_MOST_FILES = 20


def shop_pages(shop: Shop, metronome_prefix: str) -> Blueprint:
    """The pages of one shop.

    :param metronome_prefix: where Metronome's own page is.
    """
    pages = Blueprint("shop", __name__, template_folder="templates")

    @pages.get("/")
    def front() -> str:
        with shop.begin() as transaction:
            counts = {
                name: transaction.scalar(select(func.count()).select_from(model))
                for name, model in _COUNTED.items()
            }
        return render_template(
            "shop.html",
            counts=counts,
            reports=_newest(shop.reports, ("*.csv", "*.svg")),
            mails=_newest(shop.mails, ("*.eml",)),
            metronome_prefix=metronome_prefix,
        )

    @pages.get("/reports/<name>")
    def report(name: str) -> Response:
        return send_from_directory(shop.reports.resolve(), name)

    @pages.get("/mails/<name>")
    def mail(name: str) -> Response:
        return send_from_directory(shop.mails.resolve(), name, mimetype="text/plain")

    return pages


def _newest(folder: Path, patterns: tuple[str, ...]) -> list[str]:
    found = [path for pattern in patterns for path in folder.glob(pattern)]
    found.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    return [path.name for path in found[:_MOST_FILES]]
