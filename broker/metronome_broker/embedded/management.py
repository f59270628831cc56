"""The few endpoints of RabbitMQ's management API that Flower and tests ask."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any

from metronome_broker.embedded.errors import InvalidFault
from metronome_broker.embedded.faults import Fault
from metronome_broker.embedded.http import Answer, BadRequest, Request, read_request
from metronome_broker.embedded.listener import Listener
from metronome_broker.embedded.listing import (
    binding_json,
    connection_json,
    exchange_json,
    overview_json,
    queue_json,
)
from metronome_broker.embedded.vhost import Vhost

log = logging.getLogger(__name__)

Listing = Callable[[Vhost], list[dict[str, Any]]]
NOT_FOUND = Answer(
    status=HTTPStatus.NOT_FOUND,
    content={"error": "Object Not Found", "reason": "Not Found"},
)


class Management:
    """The HTTP side of a broker."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._broker = listener.broker

    async def listen(self, host: str, port: int) -> asyncio.Server:
        """Open the port."""
        return await asyncio.start_server(self._serve, host, port)

    def answer(self, request: Request) -> Answer:
        """What the API says to a request."""
        if request.credentials is None or not self._broker.accepts(
            *request.credentials
        ):
            return _error(HTTPStatus.UNAUTHORIZED, "not_authorised", "Login failed")
        try:
            return self._route(request)
        except (BadRequest, InvalidFault) as error:
            return _error(HTTPStatus.BAD_REQUEST, "bad_request", str(error))

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        # A client that goes away in the middle is its own affair.
        with contextlib.suppress(OSError, TimeoutError), contextlib.closing(writer):
            try:
                answer = self.answer(await read_request(reader))
            except BadRequest as error:
                answer = _error(HTTPStatus.BAD_REQUEST, "bad_request", str(error))
            except Exception:
                log.exception("management API failed")
                answer = Answer(status=HTTPStatus.INTERNAL_SERVER_ERROR)
            writer.write(answer.encoded())
            await writer.drain()

    def _route(self, request: Request) -> Answer:
        match (request.method, *request.path):
            case ("GET", "api", "overview"):
                return Answer(content=overview_json(self._listener))
            case ("GET", "api", "health", "checks", "alarms"):
                return self._alarms()
            case ("GET", "api", "connections"):
                connections = self._listener.connections
                return Answer(content=[connection_json(each) for each in connections])
            case ("GET", "api", "faults"):
                return Answer(content=self._broker.faults.as_json())
            case ("POST", "api", "faults"):
                self._listener.inject(Fault.from_json(request.json()))
                return Answer(content=self._broker.faults.as_json())
            case (method, "api", "vhosts", *names):
                return self._vhosts(method, names)
            case ("GET", "api", kind, *names) if kind in LISTINGS:
                return self._list(LISTINGS[kind], names)
        return NOT_FOUND

    def _alarms(self) -> Answer:
        reason = self._broker.faults.blocked
        if not reason:
            return Answer(content={"status": "ok"})
        return Answer(
            status=HTTPStatus.SERVICE_UNAVAILABLE,
            content={"status": "failed", "reason": reason, "alarms": [reason]},
        )

    def _vhosts(self, method: str, names: list[str]) -> Answer:
        known = self._broker.vhosts
        match (method, *names):
            case ("GET",):
                return Answer(content=[{"name": name} for name in known])
            case ("GET", name) if name in known:
                return Answer(content={"name": name})
            case ("PUT", name):
                status = HTTPStatus.NO_CONTENT if name in known else HTTPStatus.CREATED
                self._broker.vhost(name)
                return Answer(status=status)
            case ("DELETE", name) if self._listener.delete_vhost(name):
                return Answer(status=HTTPStatus.NO_CONTENT)
        return NOT_FOUND

    def _list(self, listing: Listing, names: list[str]) -> Answer:
        vhosts: Iterable[Vhost] = list(self._broker.vhosts.values())
        if names:
            vhosts = [each for each in vhosts if each.name == names[0]]
            if not vhosts:
                return NOT_FOUND
        found = [each for vhost in vhosts for each in listing(vhost)]
        if len(names) < 2:
            return Answer(content=found)
        named = [each for each in found if each.get("name") == names[1]]
        return Answer(content=named[0]) if named and len(names) == 2 else NOT_FOUND


def _queues(vhost: Vhost) -> list[dict[str, Any]]:
    return [queue_json(each) for each in vhost.queues.values()]


def _exchanges(vhost: Vhost) -> list[dict[str, Any]]:
    return [exchange_json(each) for each in vhost.exchanges.values()]


def _bindings(vhost: Vhost) -> list[dict[str, Any]]:
    return [
        binding_json(binding, vhost)
        for exchange in vhost.exchanges.values()
        for binding in exchange.bindings
    ]


def _error(status: HTTPStatus, error: str, reason: str) -> Answer:
    return Answer(status=status, content={"error": error, "reason": reason})


LISTINGS: dict[str, Listing] = {
    "queues": _queues,
    "exchanges": _exchanges,
    "bindings": _bindings,
}
