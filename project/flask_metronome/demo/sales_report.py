"""The sales of the last days, as CSV for a spreadsheet and as a chart to look at."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from html import escape
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session as Transaction

from flask_metronome.demo.models import Order

DAYS = 14

_WIDTH, _HEIGHT, _MARGIN = 720, 280, 40


@dataclass(frozen=True, kw_only=True, slots=True)
class DayOfSales:
    """What one day (UTC) brought."""

    day: date
    orders: int
    cents: int


def sales_by_day(
    transaction: Transaction, now: datetime, *, days: int = DAYS
) -> list[DayOfSales]:
    """The last days, oldest first, today included."""
    first = now.date() - timedelta(days=days - 1)
    sums = {first + timedelta(days=number): [0, 0] for number in range(days)}
    query = select(Order.ordered_at, Order.total_cents).where(
        Order.ordered_at >= datetime.combine(first, datetime.min.time(), now.tzinfo)
    )
    for ordered_at, cents in transaction.execute(query):
        found = sums.get(ordered_at.date())
        if found is not None:
            found[0] += 1
            found[1] += cents
    return [
        DayOfSales(day=day, orders=orders, cents=cents)
        for day, (orders, cents) in sums.items()
    ]


def write_report(folder: Path, name: str, sales: list[DayOfSales]) -> list[Path]:
    """Write ``<name>.csv`` and ``<name>.svg``; both appear whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    table, chart = folder / f"{name}.csv", folder / f"{name}.svg"
    for target in (table, chart):
        part = target.with_suffix(target.suffix + ".part")
        if target is table:
            _write_csv(part, sales)
        else:
            part.write_text(chart_svg(sales), encoding="utf-8")
        part.replace(target)
    return [table, chart]


def _write_csv(path: Path, sales: list[DayOfSales]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("day", "orders", "revenue"))
        for day in sales:
            writer.writerow((day.day.isoformat(), day.orders, f"{day.cents / 100:.2f}"))


def chart_svg(sales: list[DayOfSales]) -> str:
    """The revenue of each day as a bar."""
    highest = max((day.cents for day in sales), default=0) or 1
    step = (_WIDTH - 2 * _MARGIN) / max(len(sales), 1)
    bars = "\n".join(
        _bar(day, _MARGIN + index * step, step, day.cents / highest)
        for index, day in enumerate(sales)
    )
    title = escape(f"Revenue by day, highest {highest / 100:,.2f}")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'font-family="sans-serif" role="img" aria-label="{title}">\n'
        f'<rect width="100%" height="100%" fill="#fff"/>\n'
        f'<text x="{_MARGIN}" y="24" font-size="15">{title}</text>\n'
        f"{bars}\n</svg>\n"
    )


def _bar(day: DayOfSales, left: float, step: float, share: float) -> str:
    floor = _HEIGHT - _MARGIN
    height = share * (floor - _MARGIN)
    label = day.day.strftime("%d.%m.")
    tip = escape(f"{day.day}: {day.orders} orders, {day.cents / 100:,.2f}")
    return (
        f'<rect x="{left + step * 0.1:.1f}" y="{floor - height:.1f}" '
        f'width="{step * 0.8:.1f}" height="{height:.1f}" fill="#3b6ea5">'
        f"<title>{tip}</title></rect>"
        f'<text x="{left + step / 2:.1f}" y="{floor + 18}" font-size="11" '
        f'text-anchor="middle">{label}</text>'
    )
