"""Is this container's process alive? Docker asks, every few seconds.

``healthy.py beat|worker|monitor`` reads the heartbeat that the process itself
writes; ``healthy.py http URL`` wants an answer below 400. Exit code 0 or 1.

Nothing of Flask-Metronome is imported here: a start of the whole application
costs a second of a core, and eight containers ask all day.
"""

from __future__ import annotations

import os
import socket
import sys
import urllib.request

#: The container's own row, as old as a live process lets it become.
HEARTBEATS = {
    "beat": (
        "SELECT count(*) FROM metronome_beats WHERE host = %(host)s"
        " AND stopped_at IS NULL AND heartbeat_at > now() - interval '30 seconds'"
    ),
    "worker": (
        "SELECT count(*) FROM metronome_workers"
        " WHERE split_part(hostname, '@', 2) = %(host)s"
        " AND stopped_at IS NULL AND heartbeat_at > now() - interval '90 seconds'"
    ),
    # one of all monitors holds the lease: its freshness is the sweep's
    "monitor": (
        "SELECT count(*) FROM metronome_leases WHERE name = 'monitor'"
        " AND touched_at > now() - interval '60 seconds'"
    ),
}


def heartbeat(role: str) -> bool:
    """Whether this container's process of that role wrote its heartbeat lately."""
    import psycopg

    url = os.environ["METRONOME_DATABASE_URL"].replace("+psycopg", "", 1)
    with psycopg.connect(url, connect_timeout=3) as connection:
        row = connection.execute(
            HEARTBEATS[role], {"host": socket.gethostname()}
        ).fetchone()
    return bool(row and row[0])


def answers(url: str) -> bool:
    """Whether an HTTP server answers without an error."""
    with urllib.request.urlopen(url, timeout=4) as response:
        return bool(response.status < 400)


def main(role: str, url: str = "") -> int:
    """0 when alive; 1, and why on standard error, when not."""
    try:
        alive = answers(url) if role == "http" else heartbeat(role)
    except Exception as error:
        print(f"{role}: {error}", file=sys.stderr)
        return 1
    if not alive:
        print(f"{role}: no heartbeat of {socket.gethostname()}", file=sys.stderr)
    return 0 if alive else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
