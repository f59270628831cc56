"""Just enough HTTP/1.1 for a management API on loopback."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote, urlsplit

#: Seconds a client has to send its request.
REQUEST_SECONDS = 10.0
BODY_MAX = 64 * 1024
LENGTH_DIGITS = 9


class BadRequest(ValueError):
    """The bytes are no HTTP request that we take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request.

    Attributes:
        path: its parts, decoded: a vhost ``/`` is one part.
        credentials: user and password of basic auth, or None.
    """

    method: str
    path: tuple[str, ...]
    body: bytes = b""
    credentials: tuple[str, str] | None = None

    def json(self) -> Any:
        """The body as JSON; raises BadRequest."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError) as error:
            raise BadRequest(f"body is not JSON: {error}") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer; ``content`` becomes JSON, None an empty body."""

    status: HTTPStatus = HTTPStatus.OK
    content: Any = None

    def encoded(self) -> bytes:
        """The answer as bytes. The connection ends with it."""
        body = b""
        if self.content is not None:
            body = json.dumps(self.content, default=str, skipkeys=True).encode()
        lines = [
            f"HTTP/1.1 {self.status.value} {self.status.phrase}",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            "Cache-Control: no-store",
            "Connection: close",
        ]
        if self.status is HTTPStatus.UNAUTHORIZED:
            lines.append('WWW-Authenticate: Basic realm="Metronome embedded broker"')
        return "\r\n".join([*lines, "", ""]).encode() + body


async def read_request(reader: asyncio.StreamReader) -> Request:
    """The request a client sends.

    Raises:
        BadRequest: it is malformed, too large, or incomplete.
        TimeoutError: it takes too long.
    """
    async with asyncio.timeout(REQUEST_SECONDS):
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            method, target, headers = _parse_head(head.decode("latin-1"))
            parts = urlsplit(target).path.strip("/").split("/")
            body = await reader.readexactly(_length(headers))
        except (EOFError, asyncio.LimitOverrunError, ValueError) as error:
            raise BadRequest(str(error)) from None
    return Request(
        method=method,
        path=tuple(unquote(part) for part in parts),
        body=body,
        credentials=_credentials(headers.get("authorization", "")),
    )


def _parse_head(head: str) -> tuple[str, str, dict[str, str]]:
    first, *lines = head.rstrip("\r\n").split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        raise BadRequest("request line must be method, target and HTTP/1.x")
    pairs = (line.partition(":") for line in lines)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    return words[0], words[1], headers


def _length(headers: dict[str, str]) -> int:
    text = headers.get("content-length", "0")
    digits = text.isascii() and text.isdigit() and len(text) <= LENGTH_DIGITS
    if not digits or int(text) > BODY_MAX:
        raise BadRequest(f"content-length must be 0 to {BODY_MAX}")
    return int(text)


def _credentials(header: str) -> tuple[str, str] | None:
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        decoded = base64.b64decode(token, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
    user, _, password = decoded.partition(":")
    return user, password
