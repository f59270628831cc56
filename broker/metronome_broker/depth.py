"""How many messages wait in each lane, asked of the queues themselves."""

from __future__ import annotations

from dataclasses import dataclass

from amqp.exceptions import NotFound
from kombu import Connection

from metronome_broker.topology import Topology
from metronome_broker.wire import Wire, open_wire

DEADLINE_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneDepth:
    """Messages ready (not those a worker holds) and consumers of one queue.

    ``declared`` is False when the queue does not exist.
    """

    messages: int
    consumers: int
    declared: bool = True


def lane_depths(
    connection: str | Connection,
    topology: Topology,
    *,
    deadline: float = DEADLINE_SECONDS,
) -> dict[str, LaneDepth]:
    """The depth of each lane by its name, and of ``dead`` and ``unrouted``.

    A passive declare is exact at the moment it is answered; the management API's
    numbers are up to five seconds old.

    Args:
        connection: an AMQP URL, or a kombu Connection that is only read.
        topology: whose lanes to ask for.
        deadline: seconds for all of it.

    Raises:
        BrokerUnreachable: no connection, or not done in time.
    """
    queues = {lane.name: lane.queue_name for lane in topology.lanes}
    queues |= {"dead": topology.dead_queue, "unrouted": topology.unrouted_queue}
    with (
        open_wire(connection, seconds=deadline, name="metronome-depth") as (wire, left),
        wire.guarded(left(), "asking for queue depths"),
    ):
        return {name: _depth(wire, queue) for name, queue in queues.items()}


def _depth(wire: Wire, queue: str) -> LaneDepth:
    # A channel each: the 404 of a missing queue closes the one it came on.
    with wire.connection.channel() as channel:
        try:
            found = channel.queue_declare(queue, passive=True)
        except NotFound:
            return LaneDepth(messages=0, consumers=0, declared=False)
        return LaneDepth(messages=found.message_count, consumers=found.consumer_count)
