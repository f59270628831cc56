"""The methods of classes channel and confirm."""

from __future__ import annotations

from typing import Any

from amqp import spec

from metronome_broker.embedded.channel import Channel
from metronome_broker.embedded.errors import AmqpError
from metronome_broker.embedded.method import Method
from metronome_broker.embedded.wire import Signature


def _close(channel: Channel, _values: list[Any]) -> None:
    channel.send(spec.Channel.CloseOk)
    channel.connection.forget_channel(channel.number)


def _close_ok(_channel: Channel, _values: list[Any]) -> None:
    raise AmqpError(503, "channel.close-ok without channel.close")


def _flow(channel: Channel, values: list[Any]) -> None:
    (active,) = values
    if not active:
        raise AmqpError(540, "active=false")
    channel.send(spec.Channel.FlowOk, "b", (True,))


def _select(channel: Channel, values: list[Any]) -> None:
    (no_wait,) = values
    channel.confirming = True
    if not no_wait:
        channel.send(spec.Confirm.SelectOk)


METHODS: dict[Signature, Method] = {
    spec.Channel.Close: Method("BsBB", _close),
    spec.Channel.CloseOk: Method("", _close_ok),
    spec.Channel.Flow: Method("b", _flow),
    spec.Confirm.Select: Method("b", _select),
}
