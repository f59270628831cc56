"""The tables of incidents: standings, incidents, mutes, and the messages about them."""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    Column,
    Index,
    Integer,
    String,
    Table,
    Text,
    false,
)

from flask_metronome.column_types import Id, Json, Key, UtcDateTime, metadata

#: How the newest runs of a schedule went: what incidents are judged by.
standings = Table(
    "metronome_standings",
    metadata,
    Column("schedule_id", Id, primary_key=True),
    Column("bad_in_a_row", Integer, nullable=False),
    Column("good_in_a_row", Integer, nullable=False),
    Column("blocked_in_a_row", Integer, nullable=False),
    # due times that are missed by now, with their rows still open
    Column("pending", Integer, nullable=False),
    Column("bad_since", UtcDateTime),
    Column("first_bad_run", Id),
    Column("last_bad_run", Id),
    Column("last_bad_at", UtcDateTime),
    Column("last_good_at", UtcDateTime),
    Column("last_good_run", Id),
    # when its incidents opened and closed within the last hour
    Column("flips", Json, nullable=False),
)

#: One notified problem of one schedule, or of many for one reason.
incidents = Table(
    "metronome_incidents",
    metadata,
    Column("id", Id, primary_key=True),
    # NULL when closed: one open incident for each rule of a schedule
    Column("open_key", String(255), unique=True),
    Column("schedule_id", Id),
    # NULL: of no single schedule
    Column("schedule_key", Key),
    Column("lane", String(63)),
    # failed | missed | stuck | blocked | system
    Column("kind", String(16), nullable=False),
    # open | acknowledged | closed
    Column("state", String(16), nullable=False),
    # what several schedules can suffer from at once, e.g. scheduler_down
    Column("cause", String(80)),
    # the incident that many of one cause are part of
    Column("part_of", Id),
    Column("opened_at", UtcDateTime, nullable=False),
    Column("closed_at", UtcDateTime),
    Column("close_reason", String(32)),
    Column("bad_since", UtcDateTime, nullable=False),
    Column("last_due_at", UtcDateTime),
    Column("bad_count", Integer, nullable=False),
    Column("first_run", Id),
    Column("last_run", Id),
    Column("happened", Text, nullable=False),
    Column("last_good_at", UtcDateTime),
    Column("last_good_run", Id),
    Column("acknowledged_at", UtcDateTime),
    Column("acknowledged_by", String(190)),
    Column("note", Text),
    Column("muted", Boolean, nullable=False, server_default=false()),
    # set while it goes up and down too often to be told each time
    Column("damped_at", UtcDateTime),
    Column("notified_at", UtcDateTime),
    Column("notices", Integer, nullable=False, server_default="0"),
    Index("ix_metronome_incidents_state", "state", "opened_at"),
    Index("ix_metronome_incidents_opened", "opened_at", "id"),
    Index("ix_metronome_incidents_schedule", "schedule_key", "opened_at"),
    Index("ix_metronome_incidents_part_of", "part_of"),
    Index("ix_metronome_incidents_closed", "closed_at"),
)

#: Spans in which incidents are recorded and not notified.
mutes = Table(
    "metronome_mutes",
    metadata,
    Column("id", Id, primary_key=True),
    # * | schedule:<key> | lane:<lane>
    Column("scope", String(255), nullable=False),
    Column("from_at", UtcDateTime, nullable=False),
    # NULL: until it is ended
    Column("until_at", UtcDateTime),
    Column("who", String(190), nullable=False),
    Column("reason", Text),
    Column("created_at", UtcDateTime, nullable=False),
    Index("ix_metronome_mutes_until", "until_at"),
)

#: The outbox of notifications and events.
messages = Table(
    "metronome_messages",
    metadata,
    Column("id", Id, primary_key=True),
    # notice | event
    Column("kind", String(16), nullable=False),
    Column("type", String(64), nullable=False),
    # the channel's id; of an event its routing key
    Column("destination", String(255), nullable=False),
    Column("body", Json, nullable=False),
    Column("incident_id", Id),
    # pending | sent | failed
    Column("state", String(16), nullable=False),
    Column("tries", Integer, nullable=False, server_default="0"),
    Column("next_try_at", UtcDateTime, nullable=False),
    Column("error", Text),
    Column("created_at", UtcDateTime, nullable=False),
    Column("settled_at", UtcDateTime),
    Index("ix_metronome_messages_outbox", "state", "kind", "next_try_at"),
    Index("ix_metronome_messages_incident", "incident_id"),
)
