"""Which handler a frame goes to, by stage, channel and method."""

from __future__ import annotations

from amqp import spec

from metronome_broker.embedded import (
    basic_methods,
    channel_methods,
    exchange_methods,
    queue_methods,
)
from metronome_broker.embedded.channel import Channel
from metronome_broker.embedded.connection import Connection
from metronome_broker.embedded.connection_methods import handle_connection_method
from metronome_broker.embedded.errors import AmqpError
from metronome_broker.embedded.stage import Stage
from metronome_broker.embedded.wire import (
    HEADER,
    METHOD,
    METHOD_OFFSET,
    Frame,
    Signature,
    decode,
)

METHODS = {
    **channel_methods.METHODS,
    **exchange_methods.METHODS,
    **queue_methods.METHODS,
    **basic_methods.METHODS,
}


def dispatch(connection: Connection, frame: Frame, signature: Signature) -> None:
    """Act on one frame.

    Args:
        signature: class and method of a method frame.

    Raises:
        AmqpError: whatever is wrong with the frame, here and now.
    """
    if frame.channel == 0 or connection.stage is not Stage.RUNNING:
        handle_connection_method(connection, frame, signature)
    elif frame.channel in connection.channels.closing:
        _while_closing(connection, frame, signature)
    elif frame.kind == METHOD and signature == spec.Channel.Open:
        connection.channels.open(frame.channel)
    elif frame.kind == METHOD:
        _method(connection.channels[frame.channel], frame, signature)
    elif frame.kind == HEADER:
        connection.channels[frame.channel].receive_header(frame.payload)
    else:
        connection.channels[frame.channel].receive_body(frame.payload)


def _method(channel: Channel, frame: Frame, signature: Signature) -> None:
    if channel.awaits_content:
        raise AmqpError(
            505,
            "expected content header for class 60, got non content header frame "
            "instead",
        )
    if signature[0] == spec.Tx.CLASS_ID:
        raise AmqpError(540, "transactions")
    method = METHODS.get(signature)
    if method is None:
        raise AmqpError(503, f"unknown method {signature}")
    method.handle(channel, decode(method.layout, frame.payload, METHOD_OFFSET))


def _while_closing(connection: Connection, frame: Frame, signature: Signature) -> None:
    if frame.kind != METHOD:
        return
    if signature == spec.Channel.Close:
        connection.send(frame.channel, spec.Channel.CloseOk)
    elif signature == spec.Channel.CloseOk:
        connection.channels.closing.discard(frame.channel)
