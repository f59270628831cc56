"""Schedules of other beats, read where those keep them and taken in.

Each peer has a file that reads its schedules into :class:`ImportedSchedule` values;
``carrying`` brings those into our database. Nothing is written to a peer.
"""

from __future__ import annotations
