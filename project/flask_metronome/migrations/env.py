"""Alembic's environment: runs on the connection that ``schema`` hands over."""

from __future__ import annotations

from typing import Any, Literal

from alembic import context

from flask_metronome.models import UtcDateTime, is_metronome_table, metadata
from flask_metronome.schema import VERSION_TABLE


def _include(name: str | None, kind: str, _parents: object) -> bool:
    return kind != "table" or (is_metronome_table(name) and name != VERSION_TABLE)


def _render(kind: str, item: Any, autogen_context: Any) -> str | Literal[False]:
    """How a column type of ours is written into a new migration."""
    if kind == "type" and isinstance(item, UtcDateTime):
        autogen_context.imports.add("from flask_metronome.models import UtcDateTime")
        return "UtcDateTime()"
    return False


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    include_name=_include,
    compare_type=True,
    render_item=_render,
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
