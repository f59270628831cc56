"""First tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql, postgresql

from flask_metronome.models import UtcDateTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "metronome_attempts",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("run_id", sa.String(length=36), nullable=True),
        sa.Column("task_id", sa.String(length=255), nullable=False),
        sa.Column("task", sa.String(length=255), nullable=False),
        sa.Column("retries", sa.Integer(), nullable=False),
        sa.Column("delivery", sa.Integer(), nullable=False),
        sa.Column("fence", sa.Integer(), server_default="0", nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("worker", sa.String(length=255), nullable=False),
        sa.Column("worker_id", sa.String(length=36), nullable=True),
        sa.Column("pid", sa.Integer(), nullable=True),
        sa.Column(
            "redelivered", sa.Boolean(), server_default=sa.false(), nullable=False
        ),
        sa.Column("started_at", UtcDateTime(), nullable=False),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
        sa.Column("runtime_seconds", sa.Float(), nullable=True),
        sa.Column("error_type", sa.String(length=255), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("fingerprint", sa.String(length=64), nullable=True),
        sa.Column(
            "traceback",
            sa.Text()
            .with_variant(mysql.MEDIUMTEXT(), "mariadb")
            .with_variant(mysql.MEDIUMTEXT(), "mysql"),
            nullable=True,
        ),
        sa.Column("retry_reason", sa.String(length=255), nullable=True),
        sa.Column("retry_at", UtcDateTime(), nullable=True),
        sa.Column("lost_cause", sa.String(length=32), nullable=True),
        sa.Column("trace_id", sa.String(length=64), nullable=True),
        sa.Column("counted", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_metronome_attempts")),
        sa.UniqueConstraint(
            "task_id", "retries", "delivery", name="uq_metronome_attempts_execution"
        ),
    )
    op.create_index(
        "ix_metronome_attempts_counted",
        "metronome_attempts",
        ["counted", "state"],
        unique=False,
    )
    op.create_index(
        "ix_metronome_attempts_run", "metronome_attempts", ["run_id"], unique=False
    )
    op.create_index(
        "ix_metronome_attempts_worker",
        "metronome_attempts",
        ["worker_id", "state"],
        unique=False,
    )
    op.create_table(
        "metronome_audit",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("who", sa.String(length=190), nullable=False),
        sa.Column("action", sa.String(length=32), nullable=False),
        sa.Column("subject", sa.String(length=190), nullable=False),
        sa.Column(
            "detail",
            sa.JSON(none_as_null=True).with_variant(
                postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), "postgresql"
            ),
            nullable=True,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_metronome_audit")),
    )
    op.create_index("ix_metronome_audit_at", "metronome_audit", ["at"], unique=False)
    op.create_table(
        "metronome_beats",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("version", sa.String(length=32), nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=False),
        sa.Column("heartbeat_at", UtcDateTime(), nullable=False),
        sa.Column("stopped_at", UtcDateTime(), nullable=True),
        sa.Column("ticks", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("planned", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("published", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("broker_error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_metronome_beats")),
    )
    op.create_table(
        "metronome_counters",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("schedule_key", sa.String(length=190), nullable=False),
        sa.Column("label", sa.String(length=64), nullable=False),
        sa.Column("value", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint(
            "name", "schedule_key", "label", name=op.f("pk_metronome_counters")
        ),
    )
    op.create_table(
        "metronome_groups",
        sa.Column("group_id", sa.String(length=255), nullable=False),
        sa.Column(
            "result",
            sa.LargeBinary()
            .with_variant(mysql.MEDIUMBLOB(), "mariadb")
            .with_variant(mysql.MEDIUMBLOB(), "mysql"),
            nullable=True,
        ),
        sa.Column("done_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("group_id", name=op.f("pk_metronome_groups")),
    )
    op.create_index(
        "ix_metronome_groups_done", "metronome_groups", ["done_at"], unique=False
    )
    op.create_table(
        "metronome_leases",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("holder", sa.String(length=36), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.Column("touched_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_metronome_leases")),
    )
    op.create_table(
        "metronome_results",
        sa.Column("task_id", sa.String(length=255), nullable=False),
        sa.Column("status", sa.String(length=50), nullable=False),
        sa.Column(
            "result",
            sa.LargeBinary()
            .with_variant(mysql.MEDIUMBLOB(), "mariadb")
            .with_variant(mysql.MEDIUMBLOB(), "mysql"),
            nullable=True,
        ),
        sa.Column("content_type", sa.String(length=64), nullable=True),
        sa.Column("content_encoding", sa.String(length=64), nullable=True),
        sa.Column(
            "traceback",
            sa.Text()
            .with_variant(mysql.MEDIUMTEXT(), "mariadb")
            .with_variant(mysql.MEDIUMTEXT(), "mysql"),
            nullable=True,
        ),
        sa.Column(
            "children",
            sa.JSON(none_as_null=True).with_variant(
                postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), "postgresql"
            ),
            nullable=True,
        ),
        sa.Column("name", sa.String(length=255), nullable=True),
        sa.Column(
            "args",
            sa.Text()
            .with_variant(mysql.MEDIUMTEXT(), "mariadb")
            .with_variant(mysql.MEDIUMTEXT(), "mysql"),
            nullable=True,
        ),
        sa.Column(
            "kwargs",
            sa.Text()
            .with_variant(mysql.MEDIUMTEXT(), "mariadb")
            .with_variant(mysql.MEDIUMTEXT(), "mysql"),
            nullable=True,
        ),
        sa.Column("worker", sa.String(length=255), nullable=True),
        sa.Column("retries", sa.Integer(), nullable=True),
        sa.Column("queue", sa.String(length=255), nullable=True),
        sa.Column("parent_id", sa.String(length=255), nullable=True),
        sa.Column("group_id", sa.String(length=255), nullable=True),
        sa.Column("done_at", UtcDateTime(), nullable=True),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("task_id", name=op.f("pk_metronome_results")),
    )
    op.create_index(
        "ix_metronome_results_updated",
        "metronome_results",
        ["updated_at"],
        unique=False,
    )
    op.create_table(
        "metronome_schedules",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("key", sa.String(length=190), nullable=False),
        sa.Column("task", sa.String(length=255), nullable=False),
        sa.Column(
            "args",
            sa.JSON(none_as_null=True).with_variant(
                postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), "postgresql"
            ),
            server_default=sa.text("('[]')"),
            nullable=False,
        ),
        sa.Column(
            "kwargs",
            sa.JSON(none_as_null=True).with_variant(
                postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), "postgresql"
            ),
            server_default=sa.text("('{}')"),
            nullable=False,
        ),
        sa.Column(
            "cadence",
            sa.JSON(none_as_null=True).with_variant(
                postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), "postgresql"
            ),
            nullable=False,
        ),
        sa.Column("lane", sa.String(length=63), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column(
            "state", sa.String(length=16), server_default="active", nullable=False
        ),
        sa.Column("owner", sa.String(length=16), server_default="api", nullable=False),
        sa.Column("revision", sa.Integer(), server_default="1", nullable=False),
        sa.Column("start_at", UtcDateTime(), nullable=True),
        sa.Column("end_at", UtcDateTime(), nullable=True),
        sa.Column("max_runs", sa.Integer(), nullable=True),
        sa.Column("jitter_seconds", sa.Float(), server_default="0", nullable=False),
        sa.Column(
            "catchup", sa.String(length=16), server_default="latest", nullable=False
        ),
        sa.Column("catchup_limit", sa.Integer(), server_default="100", nullable=False),
        sa.Column(
            "catchup_window_seconds",
            sa.Float(),
            server_default=sa.text("(86400)"),
            nullable=False,
        ),
        sa.Column("grace_seconds", sa.Float(), nullable=True),
        sa.Column("start_deadline_seconds", sa.Float(), nullable=True),
        sa.Column("late_after_seconds", sa.Float(), nullable=True),
        sa.Column("max_runtime_seconds", sa.Float(), nullable=True),
        sa.Column(
            "overlap", sa.String(length=16), server_default="skip", nullable=False
        ),
        sa.Column("concurrency_key", sa.String(length=190), nullable=True),
        sa.Column(
            "on_lost", sa.String(length=16), server_default="fail", nullable=False
        ),
        sa.Column(
            "options",
            sa.JSON(none_as_null=True).with_variant(
                postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), "postgresql"
            ),
            server_default=sa.text("('{}')"),
            nullable=False,
        ),
        sa.Column("next_due_at", UtcDateTime(), nullable=True),
        sa.Column("miss_after_at", UtcDateTime(), nullable=True),
        sa.Column("last_due_at", UtcDateTime(), nullable=True),
        sa.Column("runs_made", sa.Integer(), server_default="0", nullable=False),
        sa.Column("paused_at", UtcDateTime(), nullable=True),
        sa.Column("paused_by", sa.String(length=190), nullable=True),
        sa.Column("paused_reason", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("error_at", UtcDateTime(), nullable=True),
        sa.Column(
            "declared",
            sa.JSON(none_as_null=True).with_variant(
                postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), "postgresql"
            ),
            nullable=True,
        ),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_metronome_schedules")),
        sa.UniqueConstraint("key", name=op.f("uq_metronome_schedules_key")),
    )
    op.create_index(
        "ix_metronome_schedules_due",
        "metronome_schedules",
        ["state", "next_due_at"],
        unique=False,
    )
    op.create_index(
        "ix_metronome_schedules_miss",
        "metronome_schedules",
        ["state", "miss_after_at"],
        unique=False,
    )
    op.create_table(
        "metronome_workers",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("hostname", sa.String(length=255), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("version", sa.String(length=32), nullable=False),
        sa.Column(
            "lanes",
            sa.JSON(none_as_null=True).with_variant(
                postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), "postgresql"
            ),
            nullable=False,
        ),
        sa.Column("started_at", UtcDateTime(), nullable=False),
        sa.Column("heartbeat_at", UtcDateTime(), nullable=False),
        sa.Column("stopped_at", UtcDateTime(), nullable=True),
        sa.Column(
            "active",
            sa.JSON(none_as_null=True).with_variant(
                postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), "postgresql"
            ),
            nullable=False,
        ),
        sa.Column("dropped", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_metronome_workers")),
    )
    op.create_index(
        "ix_metronome_workers_heartbeat",
        "metronome_workers",
        ["heartbeat_at"],
        unique=False,
    )
    op.create_table(
        "metronome_runs",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("schedule_id", sa.String(length=36), nullable=False),
        sa.Column("schedule_key", sa.String(length=190), nullable=False),
        sa.Column("origin", sa.String(length=190), nullable=False),
        sa.Column("due_at", UtcDateTime(), nullable=False),
        sa.Column("fires_at", UtcDateTime(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.String(length=32), nullable=True),
        sa.Column("task", sa.String(length=255), nullable=False),
        sa.Column("lane", sa.String(length=63), nullable=False),
        sa.Column(
            "args",
            sa.JSON(none_as_null=True).with_variant(
                postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), "postgresql"
            ),
            nullable=False,
        ),
        sa.Column(
            "kwargs",
            sa.JSON(none_as_null=True).with_variant(
                postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), "postgresql"
            ),
            nullable=False,
        ),
        sa.Column(
            "options",
            sa.JSON(none_as_null=True).with_variant(
                postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), "postgresql"
            ),
            nullable=False,
        ),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("catchup", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("missed_from", UtcDateTime(), nullable=True),
        sa.Column("missed_to", UtcDateTime(), nullable=True),
        sa.Column("missed_count", sa.Integer(), server_default="0", nullable=False),
        sa.Column("grace_until", UtcDateTime(), nullable=False),
        sa.Column("late_after_seconds", sa.Float(), nullable=False),
        sa.Column("max_runtime_seconds", sa.Float(), nullable=True),
        sa.Column("deadline_at", UtcDateTime(), nullable=True),
        sa.Column(
            "on_lost", sa.String(length=16), server_default="fail", nullable=False
        ),
        sa.Column("concurrency_key", sa.String(length=190), nullable=False),
        sa.Column("exclusive", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("live_key", sa.String(length=190), nullable=True),
        sa.Column("missed", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column(
            "provisional", sa.Boolean(), server_default=sa.false(), nullable=False
        ),
        sa.Column("late", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("overrun", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("stuck", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("planned_at", UtcDateTime(), nullable=True),
        sa.Column("published_at", UtcDateTime(), nullable=True),
        sa.Column("received_at", UtcDateTime(), nullable=True),
        sa.Column("started_at", UtcDateTime(), nullable=True),
        sa.Column("finished_at", UtcDateTime(), nullable=True),
        sa.Column("runtime_seconds", sa.Float(), nullable=True),
        sa.Column("worker", sa.String(length=255), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("retries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("duplicates", sa.Integer(), server_default="0", nullable=False),
        sa.Column("fence", sa.Integer(), server_default="0", nullable=False),
        sa.Column("retry_at", UtcDateTime(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("error_type", sa.String(length=255), nullable=True),
        sa.Column("publish_after", UtcDateTime(), nullable=True),
        sa.Column("publish_tries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("publish_owner", sa.String(length=36), nullable=True),
        sa.Column("publish_until", UtcDateTime(), nullable=True),
        sa.Column("publish_error", sa.Text(), nullable=True),
        sa.Column("counted", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["schedule_id"],
            ["metronome_schedules.id"],
            name=op.f("fk_metronome_runs_schedule_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_metronome_runs")),
        sa.UniqueConstraint("live_key", name=op.f("uq_metronome_runs_live_key")),
        sa.UniqueConstraint(
            "schedule_id", "origin", "due_at", name="uq_metronome_runs_due"
        ),
    )
    op.create_index(
        "ix_metronome_runs_counted",
        "metronome_runs",
        ["counted", "state"],
        unique=False,
    )
    op.create_index(
        "ix_metronome_runs_due_at", "metronome_runs", ["due_at", "id"], unique=False
    )
    op.create_index(
        "ix_metronome_runs_history",
        "metronome_runs",
        ["schedule_id", "due_at"],
        unique=False,
    )
    op.create_index(
        "ix_metronome_runs_missed", "metronome_runs", ["missed", "due_at"], unique=False
    )
    op.create_index(
        "ix_metronome_runs_outbox",
        "metronome_runs",
        ["state", "publish_after"],
        unique=False,
    )
    op.create_index(
        "ix_metronome_runs_overlap",
        "metronome_runs",
        ["concurrency_key", "state"],
        unique=False,
    )
    op.create_index(
        "ix_metronome_runs_provisional",
        "metronome_runs",
        ["schedule_id"],
        unique=False,
        postgresql_where=sa.text("provisional"),
        sqlite_where=sa.text("provisional"),
    )
    op.create_index(
        "ix_metronome_runs_state_due",
        "metronome_runs",
        ["state", "due_at"],
        unique=False,
    )


def downgrade() -> None:
    op.drop_index("ix_metronome_runs_state_due", table_name="metronome_runs")
    op.drop_index("ix_metronome_runs_provisional", table_name="metronome_runs")
    op.drop_index("ix_metronome_runs_overlap", table_name="metronome_runs")
    op.drop_index("ix_metronome_runs_outbox", table_name="metronome_runs")
    op.drop_index("ix_metronome_runs_missed", table_name="metronome_runs")
    op.drop_index("ix_metronome_runs_history", table_name="metronome_runs")
    op.drop_index("ix_metronome_runs_due_at", table_name="metronome_runs")
    op.drop_index("ix_metronome_runs_counted", table_name="metronome_runs")
    op.drop_table("metronome_runs")
    op.drop_index("ix_metronome_workers_heartbeat", table_name="metronome_workers")
    op.drop_table("metronome_workers")
    op.drop_index("ix_metronome_schedules_miss", table_name="metronome_schedules")
    op.drop_index("ix_metronome_schedules_due", table_name="metronome_schedules")
    op.drop_table("metronome_schedules")
    op.drop_index("ix_metronome_results_updated", table_name="metronome_results")
    op.drop_table("metronome_results")
    op.drop_table("metronome_leases")
    op.drop_index("ix_metronome_groups_done", table_name="metronome_groups")
    op.drop_table("metronome_groups")
    op.drop_table("metronome_counters")
    op.drop_table("metronome_beats")
    op.drop_index("ix_metronome_audit_at", table_name="metronome_audit")
    op.drop_table("metronome_audit")
    op.drop_index("ix_metronome_attempts_worker", table_name="metronome_attempts")
    op.drop_index("ix_metronome_attempts_run", table_name="metronome_attempts")
    op.drop_index("ix_metronome_attempts_counted", table_name="metronome_attempts")
    op.drop_table("metronome_attempts")
