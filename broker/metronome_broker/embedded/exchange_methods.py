"""The methods of class exchange."""

from __future__ import annotations

from typing import Any

from amqp import spec
from amqp.serialization import dumps

from metronome_broker.embedded.channel import Channel
from metronome_broker.embedded.errors import AmqpError
from metronome_broker.embedded.exchange import (
    EXCHANGE_TYPES,
    Binding,
    Exchange,
    ExchangeType,
)
from metronome_broker.embedded.method import Method
from metronome_broker.embedded.wire import Signature


def _declare(channel: Channel, values: list[Any]) -> None:
    _ticket, name, kind, passive, durable, auto_delete, internal, no_wait, given = (
        values
    )
    channel.vhost.refuse_default(name)
    if passive:
        channel.vhost.exchange(name)
    else:
        channel.vhost.declare_exchange(
            Exchange(
                name=name,
                vhost=channel.vhost.name,
                type=_type(kind),
                durable=durable,
                auto_delete=auto_delete,
                internal=internal,
                arguments=_checked(given),
            )
        )
    if not no_wait:
        channel.send(spec.Exchange.DeclareOk)


def _delete(channel: Channel, values: list[Any]) -> None:
    _ticket, name, if_unused, no_wait = values
    channel.vhost.delete_exchange(name, if_unused=if_unused)
    if not no_wait:
        channel.send(spec.Exchange.DeleteOk)


def _bind(channel: Channel, values: list[Any]) -> None:
    *binding, no_wait, arguments = values
    channel.vhost.bind(_binding(binding, arguments))
    if not no_wait:
        channel.send(spec.Exchange.BindOk)


def _unbind(channel: Channel, values: list[Any]) -> None:
    *binding, no_wait, arguments = values
    channel.vhost.unbind(_binding(binding, arguments))
    if not no_wait:
        channel.send(spec.Exchange.UnbindOk)


def _binding(values: list[Any], arguments: dict[str, Any]) -> Binding:
    _ticket, destination, source, routing_key = values
    return Binding(
        source=source,
        kind="exchange",
        destination=destination,
        routing_key=routing_key,
        arguments=arguments,
        arguments_key=dumps("F", [arguments]),
    )


def _type(kind: str) -> ExchangeType:
    for known in EXCHANGE_TYPES:
        if kind == known:
            return known
    raise AmqpError(406, f"invalid exchange type '{kind}'")


def _checked(arguments: dict[str, Any]) -> dict[str, Any]:
    alternate = arguments.get("alternate-exchange", "")
    if not isinstance(alternate, str):
        raise AmqpError(406, f"invalid arg 'alternate-exchange': {alternate!r}")
    return arguments


METHODS: dict[Signature, Method] = {
    spec.Exchange.Declare: Method("BssbbbbbF", _declare),
    spec.Exchange.Delete: Method("Bsbb", _delete),
    spec.Exchange.Bind: Method("BsssbF", _bind),
    spec.Exchange.Unbind: Method("BsssbF", _unbind),
}
