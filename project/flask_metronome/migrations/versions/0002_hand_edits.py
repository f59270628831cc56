"""Let schedules that are edited by hand in SQL take effect, and say so.

A row whose cadence or window changes without a new revision was changed by a
person: its next due time is cleared, so that the next tick computes one from
then on. PostgreSQL also notifies the beats of every change.
"""

from __future__ import annotations

import logging

from alembic import op
from sqlalchemy.exc import DBAPIError

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

logger = logging.getLogger(__name__)

_POSTGRESQL = (
    """
    CREATE FUNCTION metronome_schedule_by_hand() RETURNS trigger AS $$
    BEGIN
      IF NEW.revision = OLD.revision AND (
        NEW.cadence IS DISTINCT FROM OLD.cadence
        OR NEW.start_at IS DISTINCT FROM OLD.start_at
        OR NEW.end_at IS DISTINCT FROM OLD.end_at
        OR NEW.max_runs IS DISTINCT FROM OLD.max_runs
        OR (NEW.state = 'active' AND OLD.state <> 'active')
      ) THEN
        NEW.revision := OLD.revision + 1;
        NEW.next_due_at := NULL;
        NEW.miss_after_at := NULL;
      END IF;
      RETURN NEW;
    END $$ LANGUAGE plpgsql
    """,
    """
    CREATE TRIGGER metronome_schedule_by_hand BEFORE UPDATE ON metronome_schedules
    FOR EACH ROW EXECUTE FUNCTION metronome_schedule_by_hand()
    """,
    """
    CREATE FUNCTION metronome_schedule_notify() RETURNS trigger AS $$
    BEGIN
      IF TG_OP = 'INSERT' OR NEW.revision <> OLD.revision THEN
        PERFORM pg_notify('metronome_schedules', NEW.key);
      END IF;
      RETURN NULL;
    END $$ LANGUAGE plpgsql
    """,
    """
    CREATE TRIGGER metronome_schedule_notify
    AFTER INSERT OR UPDATE ON metronome_schedules
    FOR EACH ROW EXECUTE FUNCTION metronome_schedule_notify()
    """,
)
_SQLITE = (
    """
    CREATE TRIGGER metronome_schedule_by_hand
    AFTER UPDATE OF cadence, start_at, end_at, max_runs, state
    ON metronome_schedules
    WHEN NEW.revision = OLD.revision AND (
      NEW.cadence IS NOT OLD.cadence
      OR NEW.start_at IS NOT OLD.start_at
      OR NEW.end_at IS NOT OLD.end_at
      OR NEW.max_runs IS NOT OLD.max_runs
      OR (NEW.state = 'active' AND OLD.state <> 'active')
    )
    BEGIN
      UPDATE metronome_schedules
      SET revision = revision + 1, next_due_at = NULL, miss_after_at = NULL
      WHERE id = NEW.id;
    END
    """,
)
_MYSQL = (
    """
    CREATE TRIGGER metronome_schedule_by_hand BEFORE UPDATE ON metronome_schedules
    FOR EACH ROW
    BEGIN
      IF NEW.revision = OLD.revision AND NOT (
        NEW.cadence <=> OLD.cadence
        AND NEW.start_at <=> OLD.start_at
        AND NEW.end_at <=> OLD.end_at
        AND NEW.max_runs <=> OLD.max_runs
        AND (NEW.state <> 'active' OR OLD.state = 'active')
      ) THEN
        SET NEW.revision = OLD.revision + 1,
            NEW.next_due_at = NULL,
            NEW.miss_after_at = NULL;
      END IF;
    END
    """,
)


def upgrade() -> None:
    name = op.get_bind().dialect.name
    if name == "postgresql":
        _run(_POSTGRESQL)
    elif name == "sqlite":
        _run(_SQLITE)
    else:
        try:
            _run(_MYSQL)
        except DBAPIError as error:
            # binary logging without log_bin_trust_function_creators forbids it
            logger.warning(
                "No trigger for schedules edited by hand: %s. Set next_due_at to "
                "NULL in such an edit.",
                error.orig,
            )


def downgrade() -> None:
    name = op.get_bind().dialect.name
    suffix = " ON metronome_schedules" if name == "postgresql" else ""
    op.execute(f"DROP TRIGGER IF EXISTS metronome_schedule_by_hand{suffix}")
    if name == "postgresql":
        op.execute(f"DROP TRIGGER metronome_schedule_notify{suffix}")
        op.execute("DROP FUNCTION metronome_schedule_by_hand")
        op.execute("DROP FUNCTION metronome_schedule_notify")


def _run(statements: tuple[str, ...]) -> None:
    for statement in statements:
        op.get_bind().exec_driver_sql(statement)
