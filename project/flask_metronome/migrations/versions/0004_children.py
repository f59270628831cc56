"""Results name the run that their task was started by, at whatever distance."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_TABLE = "metronome_results"


def upgrade() -> None:
    op.add_column(_TABLE, sa.Column("run_id", sa.String(36)))
    # most results have none: where the database can, the index leaves them out
    some = sa.text("run_id IS NOT NULL")
    op.create_index(
        "ix_metronome_results_run",
        _TABLE,
        ["run_id"],
        postgresql_where=some,
        sqlite_where=some,
    )


def downgrade() -> None:
    op.drop_index("ix_metronome_results_run", _TABLE)
    op.drop_column(_TABLE, "run_id")
