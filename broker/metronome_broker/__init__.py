"""The broker: lanes, topology, publishing with confirms, and picking one to use."""

from __future__ import annotations

from metronome_broker.dead_letter import DeadLetter
from metronome_broker.dead_letters import (
    DeadLetterNews,
    Fate,
    QueueMissing,
    list_dead_letters,
    settle_dead_letters,
)
from metronome_broker.depth import LaneDepth, lane_depths
from metronome_broker.drift import Difference, TopologyReport
from metronome_broker.errors import (
    BrokerError,
    BrokerStartFailed,
    BrokerUnreachable,
    InvalidLane,
    InvalidMessage,
    TopologyDrift,
    without_password,
)
from metronome_broker.ladder import join_broker, pick_broker
from metronome_broker.lane import Lane, check_lane_name, lane_of, routing_key
from metronome_broker.message import OutboundMessage
from metronome_broker.publisher import Publisher, PublishReport
from metronome_broker.running import RunningBroker
from metronome_broker.topology import Topology, lanes_named

__all__ = [
    "BrokerError",
    "BrokerStartFailed",
    "BrokerUnreachable",
    "DeadLetter",
    "DeadLetterNews",
    "Difference",
    "Fate",
    "InvalidLane",
    "InvalidMessage",
    "Lane",
    "LaneDepth",
    "OutboundMessage",
    "PublishReport",
    "Publisher",
    "QueueMissing",
    "RunningBroker",
    "Topology",
    "TopologyDrift",
    "TopologyReport",
    "check_lane_name",
    "join_broker",
    "lane_depths",
    "lane_of",
    "lanes_named",
    "list_dead_letters",
    "pick_broker",
    "routing_key",
    "settle_dead_letters",
    "without_password",
]
