"""What a broker must refuse, and in which words: each a text and an attempt.

Queue ``q`` has ``x-max-length`` 5 and a message, and is bound to topic exchange ``x``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from amqp import Message

QUORUM = {"x-queue-type": "quorum"}

REFUSALS: list[tuple[str, Callable[[Any], Any]]] = [
    (
        "inequivalent arg 'x-max-length' for queue 'q' in vhost '{vhost}': "
        "received '6' but current is '5'",
        lambda ch: ch.queue_declare(
            "q", durable=True, auto_delete=False, arguments={"x-max-length": 6}
        ),
    ),
    (
        "inequivalent arg 'x-max-length' for queue 'q' in vhost '{vhost}': "
        "received none but current is the value '5' of type 'signedint'",
        lambda ch: ch.queue_declare("q", durable=True, auto_delete=False),
    ),
    (
        "inequivalent arg 'x-message-ttl' for queue 'q' in vhost '{vhost}': "
        "received the value '7' of type 'signedint' but current is none",
        lambda ch: ch.queue_declare(
            "q",
            durable=True,
            auto_delete=False,
            arguments={"x-max-length": 5, "x-message-ttl": 7},
        ),
    ),
    (
        "inequivalent arg 'x-queue-type' for queue 'q' in vhost '{vhost}': "
        "received 'quorum' but current is 'classic'",
        lambda ch: ch.queue_declare(
            "q",
            durable=True,
            auto_delete=False,
            arguments={"x-max-length": 5, **QUORUM},
        ),
    ),
    (
        "inequivalent arg 'durable' for queue 'q' in vhost '{vhost}': "
        "received 'false' but current is 'true'",
        lambda ch: ch.queue_declare(
            "q", auto_delete=False, arguments={"x-max-length": 5}
        ),
    ),
    (
        "inequivalent arg 'type' for exchange 'x' in vhost '{vhost}': "
        "received 'direct' but current is 'topic'",
        lambda ch: ch.exchange_declare("x", "direct", durable=True, auto_delete=False),
    ),
    (
        "invalid arg 'x-message-ttl' for queue 'new' in vhost '{vhost}': "
        '"expected integer, got longstr"',
        lambda ch: ch.queue_declare("new", arguments={"x-message-ttl": "a"}),
    ),
    (
        "invalid arg 'x-delivery-limit' for queue 'new' in vhost '{vhost}' "
        "of queue type rabbit_classic_queue",
        lambda ch: ch.queue_declare("new", arguments={"x-delivery-limit": 1}),
    ),
    (
        "invalid property 'non-durable' for queue 'new' in vhost '{vhost}'",
        lambda ch: ch.queue_declare("new", auto_delete=False, arguments=QUORUM),
    ),
    (
        "no queue 'no' in vhost '{vhost}'",
        lambda ch: ch.queue_declare("no", passive=True),
    ),
    ("no queue 'no' in vhost '{vhost}'", lambda ch: ch.basic_consume("no")),
    (
        "no exchange 'no' in vhost '{vhost}'",
        lambda ch: ch.queue_bind("q", "no", "a"),
    ),
    (
        "no exchange 'no' in vhost '{vhost}'",
        lambda ch: ch.basic_publish(Message("x"), "no", "a"),
    ),
    (
        "operation not permitted on the default exchange",
        lambda ch: ch.queue_bind("q", "", "a"),
    ),
    (
        "deletion of system exchange 'amq.topic' in vhost '{vhost}' not allowed",
        lambda ch: ch.exchange_delete("amq.topic"),
    ),
    (
        "queue name 'amq.mine' contains reserved prefix 'amq.*'",
        lambda ch: ch.queue_declare("amq.mine"),
    ),
    (
        "queue 'q' in vhost '{vhost}' not empty",
        lambda ch: ch.queue_delete("q", if_empty=True),
    ),
    (
        "exchange 'x' in vhost '{vhost}' in use",
        lambda ch: ch.exchange_delete("x", if_unused=True),
    ),
    (
        "unknown delivery tag 99",
        lambda ch: (ch.basic_ack(99), ch.queue_declare("q", passive=True)),
    ),
    (
        "invalid expiration 'soon': no_integer",
        lambda ch: ch.basic_publish(Message("x", expiration="soon"), "", "q"),
    ),
]
