"""An edit by hand in SQL revives what was finished or broken, as any other edit does.

A pause that is ended by hand says since when it was, so that it leaves its row; and
a state that there is none of is refused: such a schedule would be due no more, and
nobody would see why.
"""

from __future__ import annotations

import logging
from typing import Any

from alembic import op
from sqlalchemy.exc import DBAPIError

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

logger = logging.getLogger(__name__)

_CHANGED = ("cadence", "start_at", "end_at", "max_runs")
_STATES = "'active', 'paused', 'finished', 'retired', 'broken'"
_EXPECTED = "state: expected active, paused, finished, retired or broken"
_TO_ACTIVE = "(NEW.state = 'active' AND OLD.state <> 'active')"
#: Who sets a row aside writes its error; whoever else writes to it mends it.
_MENDED = "(NEW.state = 'broken' AND OLD.state = 'broken' AND {same_error})"
_REVIVED = "NEW.state = OLD.state AND NEW.state IN ('finished', 'broken')"
_RESUMED = "NEW.state = 'active' AND OLD.state = 'paused' AND NEW.paused_at IS NULL"
_SINCE = "COALESCE(OLD.last_due_at, OLD.created_at)"
_DROP = "DROP TRIGGER IF EXISTS metronome_schedule_by_hand"
_DROP_STATE = "DROP TRIGGER IF EXISTS metronome_schedule_state"


def upgrade() -> None:
    _replace_triggers(reviving=True)


def downgrade() -> None:
    _replace_triggers(reviving=False)


def _replace_triggers(*, reviving: bool) -> None:
    write: dict[str, Any] = {"postgresql": _postgresql, "sqlite": _sqlite}
    name = op.get_bind().dialect.name
    try:
        for statement in write.get(name, _mysql)(reviving):
            op.get_bind().exec_driver_sql(statement)
    except DBAPIError as error:
        if name in write:
            raise
        logger.warning("No trigger for schedules edited by hand: %s.", error.orig)


def _by_hand(differs: str, same_error: str, reviving: bool) -> str:
    """What only a person changes without a new revision."""
    found = [differs.format(column=column) for column in _CHANGED]
    found.append(_TO_ACTIVE)
    if reviving:
        found.append(_MENDED.format(same_error=same_error))
    return f"NEW.revision = OLD.revision AND ({' OR '.join(found)})"


def _postgresql(reviving: bool) -> tuple[str, ...]:
    by_hand = _by_hand(
        "NEW.{column} IS DISTINCT FROM OLD.{column}",
        "NEW.error IS NOT DISTINCT FROM OLD.error",
        reviving,
    )
    check, more = "", ""
    if reviving:
        check = f"""
          IF NEW.state NOT IN ({_STATES}) THEN
            RAISE EXCEPTION '{_EXPECTED}';
          END IF;"""
        more = f"""
            IF {_REVIVED} THEN NEW.state := 'active'; END IF;
            IF {_RESUMED} THEN NEW.paused_at := {_SINCE}; END IF;"""
    return (
        f"""
        CREATE OR REPLACE FUNCTION metronome_schedule_by_hand()
        RETURNS trigger AS $$
        BEGIN{check}
          IF {by_hand} THEN
            NEW.revision := OLD.revision + 1;
            NEW.next_due_at := NULL;
            NEW.miss_after_at := NULL;
            NEW.after_key := NULL;{more}
          END IF;
          RETURN NEW;
        END $$ LANGUAGE plpgsql
        """,
    )


def _sqlite(reviving: bool) -> tuple[str, ...]:
    by_hand = _by_hand(
        "NEW.{column} IS NOT OLD.{column}", "NEW.error IS OLD.error", reviving
    )
    columns = "" if reviving else f" OF {', '.join(_CHANGED)}, state"
    more = (
        f""",
            state = CASE WHEN {_REVIVED} THEN 'active' ELSE state END,
            paused_at = CASE WHEN {_RESUMED} THEN {_SINCE} ELSE paused_at END"""
        if reviving
        else ""
    )
    trigger = f"""
        CREATE TRIGGER metronome_schedule_by_hand
        AFTER UPDATE{columns} ON metronome_schedules
        WHEN {by_hand}
        BEGIN
          UPDATE metronome_schedules SET revision = revision + 1,
            next_due_at = NULL, miss_after_at = NULL, after_key = NULL{more}
          WHERE id = NEW.id;
        END
        """
    state = f"""
        CREATE TRIGGER metronome_schedule_state
        BEFORE UPDATE OF state ON metronome_schedules
        WHEN NEW.state NOT IN ({_STATES})
        BEGIN SELECT RAISE(ABORT, '{_EXPECTED}'); END
        """
    return _DROP, _DROP_STATE, trigger, *([state] if reviving else [])


def _mysql(reviving: bool) -> tuple[str, ...]:
    by_hand = _by_hand(
        "NOT (NEW.{column} <=> OLD.{column})", "NEW.error <=> OLD.error", reviving
    )
    check, more = "", ""
    if reviving:
        check = f"""
          IF NEW.state NOT IN ({_STATES}) THEN
            SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = '{_EXPECTED}';
          END IF;"""
        more = f"""
            IF {_REVIVED} THEN SET NEW.state = 'active'; END IF;
            IF {_RESUMED} THEN SET NEW.paused_at = {_SINCE}; END IF;"""
    return (
        _DROP,
        f"""
        CREATE TRIGGER metronome_schedule_by_hand BEFORE UPDATE ON metronome_schedules
        FOR EACH ROW
        BEGIN{check}
          IF {by_hand} THEN
            SET NEW.revision = OLD.revision + 1,
                NEW.next_due_at = NULL,
                NEW.miss_after_at = NULL,
                NEW.after_key = NULL;{more}
          END IF;
        END
        """,
    )
