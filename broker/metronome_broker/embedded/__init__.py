"""A small AMQP 0-9-1 broker of our own: in memory, one process, loopback only.

For development, demo and scripted-fault tests only: losing its memory loses no run, as
SQL publishes again. It follows RabbitMQ 4.0 in what it does and says, and leaves out
transactions, headers exchanges, priorities, CC and BCC, direct reply-to, streams,
policies and permissions. A vhost is made when it is first opened.
"""

from __future__ import annotations

from metronome_broker.embedded.errors import (
    EmbeddedBrokerError,
    InvalidFault,
    NotLoopback,
)
from metronome_broker.embedded.faults import Fault
from metronome_broker.embedded.server import EmbeddedBroker

__all__ = [
    "EmbeddedBroker",
    "EmbeddedBrokerError",
    "Fault",
    "InvalidFault",
    "NotLoopback",
]
