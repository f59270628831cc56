"""Workers say how many records wait in their spool."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_TABLE = "metronome_workers"


def upgrade() -> None:
    spooled = sa.Column("spooled", sa.Integer, nullable=False, server_default="0")
    op.add_column(_TABLE, spooled)


def downgrade() -> None:
    op.drop_column(_TABLE, "spooled")
