"""The broker: lanes, topology, publishing with confirms, and picking one to use."""

from __future__ import annotations

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
    "Difference",
    "InvalidLane",
    "InvalidMessage",
    "Lane",
    "LaneDepth",
    "OutboundMessage",
    "PublishReport",
    "Publisher",
    "RunningBroker",
    "Topology",
    "TopologyDrift",
    "TopologyReport",
    "check_lane_name",
    "join_broker",
    "lane_depths",
    "lane_of",
    "lanes_named",
    "pick_broker",
    "routing_key",
    "without_password",
]
