"""Ended runs are kept by what made them, lost attempts by task.

Those before were mostly made by their cadence. Which tasks lost attempts is not known
of those before: they stay where those of plain tasks are.
"""

from __future__ import annotations

from collections import Counter

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_COUNTERS = sa.table(
    "metronome_counters",
    sa.column("name", sa.String),
    sa.column("schedule_key", sa.String),
    sa.column("label", sa.String),
    sa.column("value", sa.BigInteger),
)
_RUNS, _LOST = "runs", "attempts_lost"


def upgrade() -> None:
    alone = sa.not_(_COUNTERS.c.label.contains(":"))
    label = sa.literal("auto:") + _COUNTERS.c.label
    op.execute(
        sa.update(_COUNTERS).where(_COUNTERS.c.name == _RUNS, alone).values(label=label)
    )


def downgrade() -> None:
    """What was kept apart is one sum again."""
    theirs = _COUNTERS.c.name.in_((_RUNS, _LOST))
    sums: Counter[tuple[str, str, str]] = Counter()
    for name, schedule, label, value in op.get_bind().execute(
        sa.select(_COUNTERS).where(theirs)
    ):
        outcome = label.rpartition(":")[2]
        whose = schedule if name == _RUNS else ""
        sums[name, whose, outcome] += value
    op.execute(sa.delete(_COUNTERS).where(theirs))
    rows = [
        {"name": name, "schedule_key": whose, "label": label, "value": value}
        for (name, whose, label), value in sums.items()
    ]
    if rows:
        op.bulk_insert(_COUNTERS, rows)
