"""The durations of runs are kept by outcome; those before were mostly of successes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_COUNTERS = sa.table(
    "metronome_counters",
    sa.column("name", sa.String),
    sa.column("label", sa.String),
    sa.column("value", sa.BigInteger),
)
_OF_RUNS = _COUNTERS.c.name.in_(("run_duration", "run_duration_ms"))
_GOOD, _OTHER = "succeeded:", "other:"


def upgrade() -> None:
    label = sa.literal(_GOOD) + _COUNTERS.c.label
    op.execute(sa.update(_COUNTERS).where(_OF_RUNS).values(label=label))


def downgrade() -> None:
    other = _COUNTERS.c.label.startswith(_OTHER)
    op.execute(sa.delete(_COUNTERS).where(_OF_RUNS, other))
    label = sa.func.replace(_COUNTERS.c.label, _GOOD, "")
    op.execute(sa.update(_COUNTERS).where(_OF_RUNS).values(label=label))
