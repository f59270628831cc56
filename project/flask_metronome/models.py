"""The tables. One MetaData of our own, every name begins with ``metronome_``.

Rows never leave ``store`` and ``history``. The tables of incidents and of what
monitors saw have files of their own, ``incident_tables.py``, ``monitor_tables.py``.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)

from flask_metronome.column_types import (
    BigId,
    Blob,
    Id,
    Json,
    Key,
    LongText,
    UtcDateTime,
    metadata,
)
from flask_metronome.incident_tables import incidents, messages, mutes, standings
from flask_metronome.monitor_tables import lane_depths, unknown_periods

__all__ = [
    "UtcDateTime",
    "answers",
    "attempts",
    "audit",
    "beats",
    "counters",
    "groups",
    "incidents",
    "is_metronome_table",
    "lane_depths",
    "leases",
    "messages",
    "metadata",
    "mutes",
    "results",
    "runs",
    "schedules",
    "standings",
    "unknown_periods",
    "workers",
]

#: What runs when, in which lane, under which policies.
schedules = Table(
    "metronome_schedules",
    metadata,
    Column("id", Id, primary_key=True),
    Column("key", Key, nullable=False, unique=True),
    Column("task", String(255), nullable=False),
    Column("args", Json, nullable=False, server_default=text("('[]')")),
    Column("kwargs", Json, nullable=False, server_default=text("('{}')")),
    Column("cadence", Json, nullable=False),
    Column("lane", String(63), nullable=False),
    Column("description", Text),
    # active | paused | finished | retired | broken
    Column("state", String(16), nullable=False, server_default="active"),
    # code | api | beat_schedule | import
    Column("owner", String(16), nullable=False, server_default="api"),
    Column("revision", Integer, nullable=False, server_default="1"),
    Column("start_at", UtcDateTime),
    Column("end_at", UtcDateTime),
    Column("max_runs", Integer),
    Column("jitter_seconds", Float, nullable=False, server_default="0"),
    Column("catchup", String(16), nullable=False, server_default="latest"),
    Column("catchup_limit", Integer, nullable=False, server_default="100"),
    Column(
        "catchup_window_seconds", Float, nullable=False, server_default=text("86400")
    ),
    Column("grace_seconds", Float),
    Column("start_deadline_seconds", Float),
    Column("late_after_seconds", Float),
    Column("max_runtime_seconds", Float),
    Column("overlap", String(16), nullable=False, server_default="skip"),
    Column("concurrency_key", Key),
    Column("on_lost", String(16), nullable=False, server_default="fail"),
    Column("bad_in_a_row", Integer, nullable=False, server_default="1"),
    Column("good_to_close", Integer, nullable=False, server_default="1"),
    Column("options", Json, nullable=False, server_default=text("('{}')")),
    # the key of the schedule whose runs it follows; such a row has no next due time
    Column("after_key", Key),
    # NULL while active means: to be computed (a new or a hand-edited row)
    Column("next_due_at", UtcDateTime),
    # next_due_at plus grace: after it the due time is missed
    Column("miss_after_at", UtcDateTime),
    # high-water mark: no due time at or before it is ever planned again
    Column("last_due_at", UtcDateTime),
    Column("runs_made", Integer, nullable=False, server_default="0"),
    Column("paused_at", UtcDateTime),
    Column("paused_by", String(190)),
    Column("paused_reason", Text),
    Column("error", Text),
    Column("error_at", UtcDateTime),
    # what the code declared, when an API edit overrides it
    Column("declared", Json),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Index("ix_metronome_schedules_due", "state", "next_due_at"),
    Index("ix_metronome_schedules_miss", "state", "miss_after_at"),
    Index("ix_metronome_schedules_after", "after_key", "state"),
)

#: One occurrence of a schedule, or a span of occurrences that made no work.
runs = Table(
    "metronome_runs",
    metadata,
    Column("id", Id, primary_key=True),
    Column("schedule_id", Id, ForeignKey("metronome_schedules.id"), nullable=False),
    Column("schedule_key", Key, nullable=False),
    Column("origin", String(190), nullable=False),
    Column("due_at", UtcDateTime, nullable=False),
    # due_at plus jitter: not published before
    Column("fires_at", UtcDateTime, nullable=False),
    Column("state", String(16), nullable=False),
    Column("reason", String(32)),
    Column("task", String(255), nullable=False),
    Column("lane", String(63), nullable=False),
    Column("args", Json, nullable=False),
    Column("kwargs", Json, nullable=False),
    Column("options", Json, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("catchup", Boolean, nullable=False, server_default=false()),
    Column("missed_from", UtcDateTime),
    Column("missed_to", UtcDateTime),
    Column("missed_count", Integer, nullable=False, server_default="0"),
    # judgement limits, fixed when planned so that an edit does not rejudge
    Column("grace_until", UtcDateTime, nullable=False),
    Column("late_after_seconds", Float, nullable=False),
    Column("max_runtime_seconds", Float),
    Column("deadline_at", UtcDateTime),
    Column("on_lost", String(16), nullable=False, server_default="fail"),
    Column("concurrency_key", Key, nullable=False),
    Column("exclusive", Boolean, nullable=False, server_default=false()),
    # the concurrency key while a worker holds the claim, else NULL
    Column("live_key", Key, unique=True),
    # no confirmed publish by grace_until, or ended before any start
    Column("missed", Boolean, nullable=False, server_default=false()),
    # written by the monitor while no beat is there; a beat's plan replaces it
    Column("provisional", Boolean, nullable=False, server_default=false()),
    Column("late", Boolean, nullable=False, server_default=false()),
    Column("overrun", Boolean, nullable=False, server_default=false()),
    Column("stuck", Boolean, nullable=False, server_default=false()),
    Column("planned_at", UtcDateTime),
    Column("published_at", UtcDateTime),
    Column("received_at", UtcDateTime),
    Column("started_at", UtcDateTime),
    Column("finished_at", UtcDateTime),
    Column("runtime_seconds", Float),
    Column("worker", String(255)),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("retries", Integer, nullable=False, server_default="0"),
    Column("duplicates", Integer, nullable=False, server_default="0"),
    # only grows; a result counts only with the fence of the claim
    Column("fence", Integer, nullable=False, server_default="0"),
    Column("retry_at", UtcDateTime),
    Column("error", Text),
    Column("error_type", String(255)),
    # the outbox columns
    Column("publish_after", UtcDateTime),
    Column("publish_tries", Integer, nullable=False, server_default="0"),
    Column("publish_owner", Id),
    Column("publish_until", UtcDateTime),
    Column("publish_error", Text),
    # folded into metronome_counters by the monitor
    Column("counted", Boolean, nullable=False, server_default=false()),
    # 0: not yet, 1: said to be missed while open, 2: its end was judged
    Column("judged", SmallInteger, nullable=False, server_default="0"),
    Column("updated_at", UtcDateTime, nullable=False),
    UniqueConstraint("schedule_id", "origin", "due_at", name="uq_metronome_runs_due"),
    Index("ix_metronome_runs_history", "schedule_id", "due_at"),
    Index("ix_metronome_runs_due_at", "due_at", "id"),
    Index("ix_metronome_runs_outbox", "state", "publish_after"),
    Index("ix_metronome_runs_overlap", "concurrency_key", "state"),
    Index("ix_metronome_runs_state_due", "state", "due_at"),
    Index("ix_metronome_runs_counted", "counted", "state"),
    # empty but for the minutes in which no beat is there
    Index(
        "ix_metronome_runs_provisional",
        "schedule_id",
        postgresql_where=text("provisional"),
        sqlite_where=text("provisional"),
    ),
    Index("ix_metronome_runs_missed", "missed", "due_at"),
    # what has changed since
    Index("ix_metronome_runs_updated", "updated_at", "id"),
)

#: One execution of a run by a worker.
attempts = Table(
    "metronome_attempts",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("run_id", Id),
    Column("task_id", String(255), nullable=False),
    Column("task", String(255), nullable=False),
    Column("retries", Integer, nullable=False),
    Column("delivery", Integer, nullable=False),
    Column("fence", Integer, nullable=False, server_default="0"),
    Column("state", String(16), nullable=False),
    Column("worker", String(255), nullable=False),
    Column("worker_id", Id),
    Column("pid", Integer),
    Column("redelivered", Boolean, nullable=False, server_default=false()),
    Column("started_at", UtcDateTime, nullable=False),
    Column("ended_at", UtcDateTime),
    Column("runtime_seconds", Float),
    Column("error_type", String(255)),
    Column("error", Text),
    Column("fingerprint", String(64)),
    Column("traceback", LongText),
    Column("retry_reason", String(255)),
    Column("retry_at", UtcDateTime),
    Column("lost_cause", String(32)),
    Column("trace_id", String(64)),
    Column("counted", Boolean, nullable=False, server_default=false()),
    UniqueConstraint(
        "task_id", "retries", "delivery", name="uq_metronome_attempts_execution"
    ),
    Index("ix_metronome_attempts_run", "run_id"),
    Index("ix_metronome_attempts_worker", "worker_id", "state"),
    Index("ix_metronome_attempts_counted", "counted", "state"),
)

#: What the Celery result backend keeps, for every task.
results = Table(
    "metronome_results",
    metadata,
    Column("task_id", String(255), primary_key=True),
    Column("status", String(50), nullable=False),
    Column("result", Blob),
    Column("content_type", String(64)),
    Column("content_encoding", String(64)),
    Column("traceback", LongText),
    Column("children", Json),
    Column("name", String(255)),
    Column("args", LongText),
    Column("kwargs", LongText),
    Column("worker", String(255)),
    Column("retries", Integer),
    Column("queue", String(255)),
    Column("parent_id", String(255)),
    Column("group_id", String(255)),
    Column("done_at", UtcDateTime),
    Column("updated_at", UtcDateTime, nullable=False),
    # the run whose body started this task, at whatever distance
    Column("run_id", Id),
    Index("ix_metronome_results_updated", "updated_at"),
    Index(
        "ix_metronome_results_run",
        "run_id",
        postgresql_where=text("run_id IS NOT NULL"),
        sqlite_where=text("run_id IS NOT NULL"),
    ),
)

#: Saved Celery groups.
groups = Table(
    "metronome_groups",
    metadata,
    Column("group_id", String(255), primary_key=True),
    Column("result", Blob),
    Column("done_at", UtcDateTime, nullable=False),
    Index("ix_metronome_groups_done", "done_at"),
)

#: Live beats, by their heartbeat.
beats = Table(
    "metronome_beats",
    metadata,
    Column("id", Id, primary_key=True),
    Column("host", String(255), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("version", String(32), nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
    Column("heartbeat_at", UtcDateTime, nullable=False),
    Column("stopped_at", UtcDateTime),
    Column("ticks", BigInteger, nullable=False, server_default="0"),
    Column("planned", BigInteger, nullable=False, server_default="0"),
    Column("published", BigInteger, nullable=False, server_default="0"),
    Column("broker_error", Text),
)

#: Live workers, by their lease, with what they execute.
workers = Table(
    "metronome_workers",
    metadata,
    Column("id", Id, primary_key=True),
    Column("hostname", String(255), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("version", String(32), nullable=False),
    Column("lanes", Json, nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
    Column("heartbeat_at", UtcDateTime, nullable=False),
    Column("stopped_at", UtcDateTime),
    # task ids being executed at the last heartbeat
    Column("active", Json, nullable=False),
    Column("dropped", BigInteger, nullable=False, server_default="0"),
    # records in its spool at the last heartbeat
    Column("spooled", Integer, nullable=False, server_default="0"),
    Index("ix_metronome_workers_heartbeat", "heartbeat_at"),
)

#: Fenced leases for chores that one process does at a time.
leases = Table(
    "metronome_leases",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("holder", Id, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    Column("touched_at", UtcDateTime, nullable=False),
)

#: Sums that outlive the rows they were folded from.
counters = Table(
    "metronome_counters",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("schedule_key", Key, primary_key=True),
    Column("label", String(64), primary_key=True),
    Column("value", BigInteger, nullable=False, server_default="0"),
)

#: What was answered to requests that say by a key which they are.
answers = Table(
    "metronome_answers",
    metadata,
    # of path and key
    Column("id", String(64), primary_key=True),
    # of the body
    Column("fingerprint", String(64), nullable=False),
    # NULL: it is being answered
    Column("status", SmallInteger),
    Column("headers", Json),
    Column("body", LongText),
    Column("at", UtcDateTime, nullable=False),
    Index("ix_metronome_answers_at", "at"),
)

#: Who changed what.
audit = Table(
    "metronome_audit",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("at", UtcDateTime, nullable=False),
    Column("who", String(190), nullable=False),
    Column("action", String(32), nullable=False),
    Column("subject", String(190), nullable=False),
    Column("detail", Json),
    Index("ix_metronome_audit_at", "at"),
)


def is_metronome_table(name: str | None) -> bool:
    """Whether a table is ours: for the ``include_name`` hook of a host's Alembic."""
    return bool(name) and str(name).startswith("metronome_")
