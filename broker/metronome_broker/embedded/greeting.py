"""What the broker says about itself when a client connects."""

from __future__ import annotations

from typing import Any

MECHANISMS = "PLAIN AMQPLAIN"
LOCALES = "en_US"
#: The RabbitMQ whose behaviour this broker follows.
LIKE_VERSION = "4.0.5"
PRODUCT = "Metronome embedded broker"
SERVER_PROPERTIES: dict[str, Any] = {
    # Clients ask by this name and version whether RabbitMQ's semantics hold (kombu:
    # how QoS works), so it has to be RabbitMQ's; the platform says what it is.
    "product": "RabbitMQ",
    "version": LIKE_VERSION,
    "platform": PRODUCT,
    "cluster_name": "metronome-embedded",
    "information": "For development, demo and scripted-fault tests only",
    "capabilities": {
        "publisher_confirms": True,
        "exchange_exchange_bindings": True,
        "basic.nack": True,
        "consumer_cancel_notify": True,
        "connection.blocked": True,
        "authentication_failure_close": True,
        "per_consumer_qos": True,
    },
}
