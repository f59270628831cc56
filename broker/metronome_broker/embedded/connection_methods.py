"""The methods of class connection: handshake, tuning, opening, closing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from amqp import spec

from metronome_broker.embedded.connection import Connection
from metronome_broker.embedded.errors import AmqpError
from metronome_broker.embedded.heartbeat import Heartbeat
from metronome_broker.embedded.stage import Stage
from metronome_broker.embedded.wire import (
    FRAME_MAX,
    FRAME_MIN,
    METHOD,
    METHOD_OFFSET,
    Frame,
    Signature,
    decode,
)

#: Seconds, as we propose it; the client decides.
HEARTBEAT_SECONDS = 60


def handle_connection_method(
    connection: Connection, frame: Frame, signature: Signature
) -> None:
    """Act on a frame of channel 0, or on any before the connection is open.

    Raises:
        AmqpError: it is no method that this stage expects.
    """
    step = STEPS.get(signature) if frame.kind == METHOD else None
    fits = step is not None and connection.stage in step.stages
    if connection.stage is Stage.CLOSING and not fits:
        return
    if step is None or not fits or frame.channel:
        raise AmqpError(
            503 if frame.kind == METHOD else 505,
            f"unexpected {signature} while awaiting {connection.stage.value}",
        )
    step.handle(connection, decode(step.layout, frame.payload, METHOD_OFFSET))


def _start_ok(connection: Connection, values: list[Any]) -> None:
    properties, mechanism, response, _locale = values
    connection.client_properties = properties
    user, password = _credentials(mechanism, response)
    if not connection.broker.accepts(user, password):
        if not connection.capability("authentication_failure_close"):
            connection.leave()
            return
        raise AmqpError(
            403, f"Login was refused using authentication mechanism {mechanism}"
        )
    connection.user = user
    connection.send(
        0,
        spec.Connection.Tune,
        "BlB",
        (connection.channels.channel_max, FRAME_MAX, HEARTBEAT_SECONDS),
    )
    connection.stage = Stage.TUNE


def _tune_ok(connection: Connection, values: list[Any]) -> None:
    channel_max, frame_max, heartbeat = values
    frame_max = frame_max or FRAME_MAX
    channel_max = channel_max or connection.channels.channel_max
    if not FRAME_MIN <= frame_max <= FRAME_MAX:
        raise AmqpError(
            530,
            f"negotiated frame_max = {frame_max} is not between "
            f"{FRAME_MIN} and {FRAME_MAX}",
        )
    if channel_max > connection.channels.channel_max:
        raise AmqpError(
            530,
            f"negotiated channel_max = {channel_max} is higher than the maximum "
            f"allowed value ({connection.channels.channel_max})",
        )
    connection.frame_max = connection.reader.frame_max = frame_max
    connection.channels.channel_max = channel_max
    connection.heartbeat = Heartbeat(connection.link, connection.loop, heartbeat)
    connection.stage = Stage.OPEN


def _open(connection: Connection, values: list[Any]) -> None:
    connection.send(0, spec.Connection.OpenOk, "s", ("",))
    connection.open_vhost(connection.broker.vhost(values[0]))


def _close(connection: Connection, _values: list[Any]) -> None:
    connection.send(0, spec.Connection.CloseOk)
    connection.leave()


def _close_ok(connection: Connection, _values: list[Any]) -> None:
    connection.leave()


def _credentials(mechanism: str, response: bytes) -> tuple[str, str]:
    if mechanism == "PLAIN":
        parts = response.split(b"\x00")
        if len(parts) != 3:
            raise AmqpError(501, "PLAIN response must be authzid, user and password")
        return _text(parts[1]), _text(parts[2])
    if mechanism == "AMQPLAIN":
        # The response is a table without its length.
        table = decode("F", len(response).to_bytes(4, "big") + response)[0]
        return str(table.get("LOGIN", "")), str(table.get("PASSWORD", ""))
    raise AmqpError(504, f"unknown authentication mechanism '{mechanism}'")


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class Step:
    """A method of class connection: when it may come and what it does."""

    stages: frozenset[Stage]
    layout: str
    handle: Callable[[Connection, list[Any]], None]


STEPS: dict[Signature, Step] = {
    spec.Connection.StartOk: Step(frozenset({Stage.START}), "Fsxs", _start_ok),
    spec.Connection.TuneOk: Step(frozenset({Stage.TUNE}), "BlB", _tune_ok),
    spec.Connection.Open: Step(frozenset({Stage.OPEN}), "ssb", _open),
    spec.Connection.Close: Step(frozenset(Stage), "BsBB", _close),
    spec.Connection.CloseOk: Step(frozenset({Stage.CLOSING}), "", _close_ok),
}
