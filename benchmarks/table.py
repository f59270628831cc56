"""What a benchmark answers, and how it is printed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """One benchmark's figures.

    :param title: what was measured, with the parts it was measured on.
    :param columns: the headings, with units.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | float]]

    def __str__(self) -> str:
        cells = [[_text(cell) for cell in row] for row in (self.columns, *self.rows)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = [
            "  ".join(
                cell.ljust(width) if at == 0 else cell.rjust(width)
                for at, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in cells
        ]
        rule = "  ".join("-" * width for width in widths)
        return "\n".join([self.title, "", lines[0], rule, *lines[1:]])


def _text(cell: str | float) -> str:
    if isinstance(cell, str):
        return cell
    whole = isinstance(cell, int) or abs(cell) >= 100
    return f"{cell:,.0f}" if whole else f"{cell:.2f}"
