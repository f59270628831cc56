"""When nobody was watching, and what a monitor saw in the broker's queues."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from flask_metronome.column_types import BigId, UtcDateTime

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "metronome_unknown_periods",
        sa.Column("id", BigId, autoincrement=True, nullable=False),
        sa.Column("from_at", UtcDateTime(), nullable=False),
        sa.Column("to_at", UtcDateTime(), nullable=False),
        sa.Column("cause", sa.String(16), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_metronome_unknown_periods")),
    )
    op.create_index(
        "ix_metronome_unknown_periods_to", "metronome_unknown_periods", ["to_at"]
    )
    op.create_table(
        "metronome_lane_depths",
        sa.Column("name", sa.String(63), nullable=False),
        sa.Column("messages", sa.Integer(), nullable=False),
        sa.Column("consumers", sa.Integer(), nullable=False),
        sa.Column("seen_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_metronome_lane_depths")),
    )


def downgrade() -> None:
    op.drop_table("metronome_lane_depths")
    op.drop_table("metronome_unknown_periods")
