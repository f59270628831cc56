"""When a schedule last began is kept, as its last success is, beyond its runs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from flask_metronome.column_types import UtcDateTime

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_NAME = "last_start_ms"
_COUNTERS = sa.table(
    "metronome_counters",
    sa.column("name", sa.String),
    sa.column("schedule_key", sa.String),
    sa.column("label", sa.String),
    sa.column("value", sa.BigInteger),
)
_RUNS = sa.table(
    "metronome_runs",
    sa.column("schedule_key", sa.String),
    sa.column("started_at", UtcDateTime),
)


def upgrade() -> None:
    began = sa.func.max(_RUNS.c.started_at, type_=UtcDateTime()).label("began")
    newest = sa.select(_RUNS.c.schedule_key, began).group_by(_RUNS.c.schedule_key)
    rows = [
        {
            "name": _NAME,
            "schedule_key": row.schedule_key,
            "label": "",
            "value": int(row.began.timestamp() * 1000),
        }
        for row in op.get_bind().execute(newest)
        if row.began is not None
    ]
    if rows:
        op.bulk_insert(_COUNTERS, rows)


def downgrade() -> None:
    op.execute(sa.delete(_COUNTERS).where(_COUNTERS.c.name == _NAME))
