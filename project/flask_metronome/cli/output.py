"""How commands print: tables for people, JSON for programs."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

_GAP = "  "
_LEAST_WIDTH = 12
#: A key up to this length is not cut either.
_LONG_KEY = 36
_INSTANT = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ")

json_option: Decorator = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON instead of a table."
)


def print_json(value: Any) -> None:
    """Print a value, or a list of them, as JSON; instants in UTC."""
    encoding = (getattr(sys.stdout, "encoding", None) or "ascii").lower()
    ascii_only = not encoding.startswith("utf")
    click.echo(json.dumps(plain(value), indent=2, ensure_ascii=ascii_only))


def plain(value: Any) -> Any:
    """The value in JSON's own kinds."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(name): plain(found) for name, found in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(found) for found in value]
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, Path):
        return str(value)
    return value


def print_table(
    headers: Sequence[str], rows: Sequence[Sequence[object]], *, empty: str
) -> None:
    """Print rows in columns; on a terminal, the widest columns are cut to fit.

    What one would copy or compare is not: ids, keys of a usual length, instants.

    :param empty: what is printed when there are no rows.
    """
    if not rows:
        click.echo(empty)
        return
    cells = [[_cell(value) for value in row] for row in (headers, *rows)]
    columns = list(zip(*cells, strict=True))
    widths = _fitted([max(map(len, column)) for column in columns], columns)
    for row in cells:
        fitted = zip(row, widths, strict=True)
        line = _GAP.join(_cut(text, width).ljust(width) for text, width in fitted)
        click.echo(line.rstrip())


def print_fields(found: Mapping[str, object]) -> None:
    """Print names and values under each other; what has no value is left out."""
    shown = {name: _cell(value) for name, value in found.items()}
    shown = {name: text for name, text in shown.items() if text}
    width = max((len(name) for name in shown), default=0)
    for name, text in shown.items():
        click.echo(f"{name:<{width}}{_GAP}{text}")


def instant(moment: datetime | None) -> str:
    """An instant for people: UTC, to the second."""
    if moment is None:
        return ""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def seconds(value: float | None) -> str:
    """A duration for people."""
    if value is None:
        return ""
    return f"{value:.3g} s" if value < 100 else f"{value:.0f} s"


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return instant(value)
    if isinstance(value, bool):
        return "yes" if value else ""
    if isinstance(value, (dict, list, tuple)):
        return json.dumps(plain(value), ensure_ascii=False) if value else ""
    return " ".join(str(value).split())


def _fitted(widths: list[int], columns: Sequence[Sequence[str]]) -> list[int]:
    if not sys.stdout.isatty():
        return widths
    fitted = list(widths)
    gaps = len(_GAP) * (len(widths) - 1)
    excess = sum(fitted) + gaps - shutil.get_terminal_size().columns
    wide = [i for i, column in enumerate(columns) if not _stays_whole(column)]
    while excess > 0 and wide:
        widest = max(wide, key=lambda index: fitted[index])
        if fitted[widest] <= _LEAST_WIDTH:
            break
        fitted[widest] -= 1
        excess -= 1
    return fitted


def _stays_whole(column: Sequence[str]) -> bool:
    header, *cells = column
    if header in ("KEY", "SCHEDULE"):
        return max(map(len, cells), default=0) <= _LONG_KEY
    return header.endswith("ID") or any(map(_INSTANT.fullmatch, cells))


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"
