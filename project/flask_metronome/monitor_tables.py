"""The tables of what monitors saw: when nobody watched, and what the queues hold."""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, String, Table

from flask_metronome.column_types import BigId, UtcDateTime, metadata

#: Spans in which nobody was watching.
unknown_periods = Table(
    "metronome_unknown_periods",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("from_at", UtcDateTime, nullable=False),
    Column("to_at", UtcDateTime, nullable=False),
    # no_monitor | no_database
    Column("cause", String(16), nullable=False),
    Index("ix_metronome_unknown_periods_to", "to_at"),
)

#: What the broker holds for each lane, as a monitor saw it last.
lane_depths = Table(
    "metronome_lane_depths",
    metadata,
    # a lane, or dead, or unrouted
    Column("name", String(63), primary_key=True),
    Column("messages", Integer, nullable=False),
    Column("consumers", Integer, nullable=False),
    Column("seen_at", UtcDateTime, nullable=False),
)
