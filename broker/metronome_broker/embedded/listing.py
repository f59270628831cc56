"""Queues, exchanges, bindings and connections as the management API shows them."""

from __future__ import annotations

from typing import Any

from metronome_broker.embedded.connection import Connection
from metronome_broker.embedded.exchange import Binding, Exchange
from metronome_broker.embedded.greeting import LIKE_VERSION, PRODUCT
from metronome_broker.embedded.listener import Listener
from metronome_broker.embedded.queue import Queue
from metronome_broker.embedded.vhost import Vhost


def overview_json(listener: Listener) -> dict[str, Any]:
    """What the whole broker holds."""
    vhosts = listener.broker.vhosts.values()
    queues = [queue for vhost in vhosts for queue in vhost.queues.values()]
    ready = sum(len(queue) for queue in queues)
    unacked = sum(queue.unacked for queue in queues)
    return {
        "product_name": PRODUCT,
        "product_version": LIKE_VERSION,
        "rabbitmq_version": LIKE_VERSION,
        "management_version": LIKE_VERSION,
        "cluster_name": "metronome-embedded",
        "object_totals": {
            "connections": len(listener.connections),
            "channels": sum(len(each.channels) for each in listener.connections),
            "exchanges": sum(len(vhost.exchanges) for vhost in vhosts),
            "queues": len(queues),
            "consumers": sum(len(queue.rota) for queue in queues),
        },
        "queue_totals": {
            "messages": ready + unacked,
            "messages_ready": ready,
            "messages_unacknowledged": unacked,
        },
    }


def queue_json(queue: Queue) -> dict[str, Any]:
    """One queue."""
    return {
        "name": queue.name,
        "vhost": queue.vhost,
        "type": queue.arguments.queue_type,
        "durable": queue.durable,
        "auto_delete": queue.auto_delete,
        "exclusive": queue.owner is not None,
        "arguments": dict(queue.arguments.given),
        "messages": len(queue) + queue.unacked,
        "messages_ready": len(queue),
        "messages_unacknowledged": queue.unacked,
        "consumers": len(queue.rota),
        "state": "running",
        "node": "metronome@embedded",
    }


def exchange_json(exchange: Exchange) -> dict[str, Any]:
    """One exchange."""
    return {
        "name": exchange.name,
        "vhost": exchange.vhost,
        "type": exchange.type,
        "durable": exchange.durable,
        "auto_delete": exchange.auto_delete,
        "internal": exchange.internal,
        "arguments": dict(exchange.arguments),
    }


def binding_json(binding: Binding, vhost: Vhost) -> dict[str, Any]:
    """One binding."""
    return {
        "source": binding.source,
        "vhost": vhost.name,
        "destination": binding.destination,
        "destination_type": binding.kind,
        "routing_key": binding.routing_key,
        "arguments": dict(binding.arguments),
        "properties_key": binding.routing_key or "~",
    }


def connection_json(connection: Connection) -> dict[str, Any]:
    """One connection."""
    properties = connection.client_properties
    return {
        "name": connection.link.peer,
        "user_provided_name": properties.get("connection_name"),
        "vhost": connection.vhost_name,
        "user": connection.user,
        "state": connection.stage.name.lower(),
        "channels": len(connection.channels),
        "timeout": connection.heartbeat.seconds,
        "frame_max": connection.frame_max,
        "channel_max": connection.channels.channel_max,
        "client_properties": dict(properties),
    }
