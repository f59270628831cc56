"""What has changed since an instant is found along an index."""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_RUNS = "metronome_runs"
_INCIDENTS = "metronome_incidents"


def upgrade() -> None:
    op.create_index("ix_metronome_runs_updated", _RUNS, ["updated_at", "id"])
    op.create_index("ix_metronome_incidents_closed", _INCIDENTS, ["closed_at"])


def downgrade() -> None:
    op.drop_index("ix_metronome_incidents_closed", _INCIDENTS)
    op.drop_index("ix_metronome_runs_updated", _RUNS)
