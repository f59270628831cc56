"""Incidents, mutes, messages; schedules that follow the runs of another.

Runs that have ended before this version are not judged: nobody is told today
of what failed last week.
"""

from __future__ import annotations

import logging
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.exc import DBAPIError

from flask_metronome.column_types import Json, UtcDateTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

logger = logging.getLogger(__name__)

_ENDED = (
    "'succeeded', 'failed', 'timed_out', 'lost', 'expired', 'cancelled', 'skipped', "
    "'missed'"
)


def upgrade() -> None:
    _add_columns()
    _make_standings()
    _make_incidents()
    _make_mutes()
    _make_messages()
    op.execute(
        "UPDATE metronome_runs SET judged = 2 "
        f"WHERE state IN ({_ENDED}) AND NOT provisional"
    )
    _replace_triggers(following=True)


def downgrade() -> None:
    _replace_triggers(following=False)
    for name in ("messages", "mutes", "incidents", "standings"):
        op.drop_table(f"metronome_{name}")
    op.drop_column("metronome_runs", "judged")
    op.drop_index("ix_metronome_schedules_after", "metronome_schedules")
    for name in ("after_key", "good_to_close", "bad_in_a_row"):
        op.drop_column("metronome_schedules", name)


def _add_columns() -> None:
    for name in ("bad_in_a_row", "good_to_close"):
        op.add_column(
            "metronome_schedules",
            sa.Column(name, sa.Integer(), server_default="1", nullable=False),
        )
    op.add_column(
        "metronome_schedules",
        sa.Column("after_key", sa.String(length=190), nullable=True),
    )
    op.create_index(
        "ix_metronome_schedules_after", "metronome_schedules", ["after_key", "state"]
    )
    op.add_column(
        "metronome_runs",
        sa.Column("judged", sa.SmallInteger(), server_default="0", nullable=False),
    )


def _make_standings() -> None:
    op.create_table(
        "metronome_standings",
        sa.Column("schedule_id", sa.String(length=36), nullable=False),
        sa.Column("bad_in_a_row", sa.Integer(), nullable=False),
        sa.Column("good_in_a_row", sa.Integer(), nullable=False),
        sa.Column("blocked_in_a_row", sa.Integer(), nullable=False),
        sa.Column("pending", sa.Integer(), nullable=False),
        sa.Column("bad_since", UtcDateTime(), nullable=True),
        sa.Column("first_bad_run", sa.String(length=36), nullable=True),
        sa.Column("last_bad_run", sa.String(length=36), nullable=True),
        sa.Column("last_bad_at", UtcDateTime(), nullable=True),
        sa.Column("last_good_at", UtcDateTime(), nullable=True),
        sa.Column("last_good_run", sa.String(length=36), nullable=True),
        sa.Column("flips", Json, nullable=False),
        sa.PrimaryKeyConstraint("schedule_id", name=op.f("pk_metronome_standings")),
    )


def _make_incidents() -> None:
    op.create_table(
        "metronome_incidents",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("open_key", sa.String(length=255), nullable=True),
        sa.Column("schedule_id", sa.String(length=36), nullable=True),
        sa.Column("schedule_key", sa.String(length=190), nullable=True),
        sa.Column("lane", sa.String(length=63), nullable=True),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("cause", sa.String(length=80), nullable=True),
        sa.Column("part_of", sa.String(length=36), nullable=True),
        sa.Column("opened_at", UtcDateTime(), nullable=False),
        sa.Column("closed_at", UtcDateTime(), nullable=True),
        sa.Column("close_reason", sa.String(length=32), nullable=True),
        sa.Column("bad_since", UtcDateTime(), nullable=False),
        sa.Column("last_due_at", UtcDateTime(), nullable=True),
        sa.Column("bad_count", sa.Integer(), nullable=False),
        sa.Column("first_run", sa.String(length=36), nullable=True),
        sa.Column("last_run", sa.String(length=36), nullable=True),
        sa.Column("happened", sa.Text(), nullable=False),
        sa.Column("last_good_at", UtcDateTime(), nullable=True),
        sa.Column("last_good_run", sa.String(length=36), nullable=True),
        sa.Column("acknowledged_at", UtcDateTime(), nullable=True),
        sa.Column("acknowledged_by", sa.String(length=190), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("muted", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("damped_at", UtcDateTime(), nullable=True),
        sa.Column("notified_at", UtcDateTime(), nullable=True),
        sa.Column("notices", sa.Integer(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_metronome_incidents")),
        sa.UniqueConstraint("open_key", name=op.f("uq_metronome_incidents_open_key")),
    )
    for name, columns in {
        "state": ["state", "opened_at"],
        "opened": ["opened_at", "id"],
        "schedule": ["schedule_key", "opened_at"],
        "part_of": ["part_of"],
    }.items():
        op.create_index(
            f"ix_metronome_incidents_{name}", "metronome_incidents", columns
        )


def _make_mutes() -> None:
    op.create_table(
        "metronome_mutes",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("scope", sa.String(length=255), nullable=False),
        sa.Column("from_at", UtcDateTime(), nullable=False),
        sa.Column("until_at", UtcDateTime(), nullable=True),
        sa.Column("who", sa.String(length=190), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_metronome_mutes")),
    )
    op.create_index("ix_metronome_mutes_until", "metronome_mutes", ["until_at"])


def _make_messages() -> None:
    op.create_table(
        "metronome_messages",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("type", sa.String(length=64), nullable=False),
        sa.Column("destination", sa.String(length=255), nullable=False),
        sa.Column("body", Json, nullable=False),
        sa.Column("incident_id", sa.String(length=36), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("tries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("next_try_at", UtcDateTime(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("settled_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_metronome_messages")),
    )
    op.create_index(
        "ix_metronome_messages_outbox",
        "metronome_messages",
        ["state", "kind", "next_try_at"],
    )
    op.create_index(
        "ix_metronome_messages_incident", "metronome_messages", ["incident_id"]
    )


# -- a cadence edited by hand: what it followed is worked out anew, too -----------

_CHANGED = ("cadence", "start_at", "end_at", "max_runs")


def _replace_triggers(*, following: bool) -> None:
    write: dict[str, Any] = {"postgresql": _postgresql, "sqlite": _sqlite}
    name = op.get_bind().dialect.name
    try:
        for statement in write.get(name, _mysql)(following):
            op.get_bind().exec_driver_sql(statement)
    except DBAPIError as error:
        if name in write:
            raise
        logger.warning("No trigger for schedules edited by hand: %s.", error.orig)


def _postgresql(following: bool) -> tuple[str, ...]:
    changed = " OR ".join(f"NEW.{c} IS DISTINCT FROM OLD.{c}" for c in _CHANGED)
    more = "NEW.after_key := NULL;" if following else ""
    return (
        f"""
        CREATE OR REPLACE FUNCTION metronome_schedule_by_hand()
        RETURNS trigger AS $$
        BEGIN
          IF NEW.revision = OLD.revision AND (
            {changed} OR (NEW.state = 'active' AND OLD.state <> 'active')
          ) THEN
            NEW.revision := OLD.revision + 1;
            NEW.next_due_at := NULL;
            NEW.miss_after_at := NULL;
            {more}
          END IF;
          RETURN NEW;
        END $$ LANGUAGE plpgsql
        """,
    )


def _sqlite(following: bool) -> tuple[str, ...]:
    changed = " OR ".join(f"NEW.{c} IS NOT OLD.{c}" for c in _CHANGED)
    more = ", after_key = NULL" if following else ""
    return (
        "DROP TRIGGER metronome_schedule_by_hand",
        f"""
        CREATE TRIGGER metronome_schedule_by_hand
        AFTER UPDATE OF cadence, start_at, end_at, max_runs, state
        ON metronome_schedules
        WHEN NEW.revision = OLD.revision AND (
          {changed} OR (NEW.state = 'active' AND OLD.state <> 'active')
        )
        BEGIN
          UPDATE metronome_schedules SET revision = revision + 1,
            next_due_at = NULL, miss_after_at = NULL{more}
          WHERE id = NEW.id;
        END
        """,
    )


def _mysql(following: bool) -> tuple[str, ...]:
    same = " AND ".join(f"NEW.{c} <=> OLD.{c}" for c in _CHANGED)
    more = ", NEW.after_key = NULL" if following else ""
    return (
        "DROP TRIGGER IF EXISTS metronome_schedule_by_hand",
        f"""
        CREATE TRIGGER metronome_schedule_by_hand BEFORE UPDATE ON metronome_schedules
        FOR EACH ROW
        BEGIN
          IF NEW.revision = OLD.revision AND NOT (
            {same} AND (NEW.state <> 'active' OR OLD.state = 'active')
          ) THEN
            SET NEW.revision = OLD.revision + 1,
                NEW.next_due_at = NULL,
                NEW.miss_after_at = NULL{more};
          END IF;
        END
        """,
    )
