"""Asks a running Flower, for the proxy under our own address.

By ``http.client``, which does just this: one address, no redirect followed, no
proxy of the environment, no cookie kept, an answer that is read as it comes.
Only what is named here goes either way. Credentials of a visitor, cookies and
whatever concerns one connection stay where they are.
"""

from __future__ import annotations

import base64
import http.client
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

CONNECT_SECONDS = 3.0
#: Flower asks its workers for up to two seconds before it answers.
SILENCE_SECONDS = 10.0
TOTAL_SECONDS = 60.0
_CHUNK = 65_536

ASKED = ("Accept", "Accept-Language", "If-Modified-Since", "If-None-Match")
ANSWERED = (
    "Cache-Control",
    "Content-Disposition",
    "Content-Encoding",
    "Content-Language",
    "Content-Length",
    "Content-Type",
    "ETag",
    "Expires",
    "Last-Modified",
    "Vary",
)
_IN_PATH = "/@:!$&'()*+,;=~-._"
_IN_QUERY = _IN_PATH + "?%[]"


class FlowerAway(Exception):
    """Flower cannot be reached, or says what is not HTTP."""


class FlowerSilent(Exception):
    """Flower took the question and does not answer in time."""


class FlowerBody:
    """What comes, as it comes; closed by whoever reads it, also unread."""

    def __init__(
        self,
        connection: http.client.HTTPConnection,
        response: http.client.HTTPResponse,
        ends: float,
    ) -> None:
        self._connection = connection
        self._response = response
        self._ends = ends

    def __iter__(self) -> Iterator[bytes]:
        # an error here cuts the answer off, which the visitor's browser sees
        try:
            while time.monotonic() < self._ends:
                chunk = self._response.read1(_CHUNK)
                if not chunk:
                    return
                yield chunk
            raise FlowerSilent("it goes on for too long")
        finally:
            self.close()

    def close(self) -> None:
        """Let go of the connection."""
        self._response.close()
        self._connection.close()


@dataclass(frozen=True, kw_only=True, slots=True)
class FlowerAnswer:
    """What Flower answered: its headers are those that may go on.

    :param moved_to: the path that a redirect leads to, if it is Flower's own.
    """

    status: int
    headers: Mapping[str, str]
    moved_to: str | None
    body: FlowerBody


@dataclass(frozen=True, kw_only=True, slots=True)
class FlowerClient:
    """The one Flower that may be asked.

    :param url: ``http://host:port``; a path in it does not count.
    :param prefix: the path that Flower is under, such as ``/metronome/flower``.
    """

    url: str
    prefix: str
    user: str
    password: str | None

    def ask(
        self, method: str, path: str, query: str, headers: Mapping[str, str]
    ) -> FlowerAnswer:
        """Ask for a path below the prefix.

        :param method: GET or HEAD.
        :param path: decoded, without a leading slash.
        :param headers: of the visitor; only those in ``ASKED`` are sent.
        :raises ValueError: the path leads out of Flower.
        :raises FlowerAway: Flower is not there.
        :raises FlowerSilent: it does not answer in time.
        """
        target = self.prefix + "/" + quote(_kept_inside(path), safe=_IN_PATH)
        if query:
            target += "?" + quote(query, safe=_IN_QUERY)
        ends = time.monotonic() + TOTAL_SECONDS
        connection = self._connected()
        try:
            connection.request(method, target, headers=self._asked(headers))
            response = connection.getresponse()
        except TimeoutError as error:
            connection.close()
            raise FlowerSilent(str(error)) from error
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise FlowerAway(_said(error)) from error
        given = {name: response.headers[name] for name in ANSWERED}
        return FlowerAnswer(
            status=response.status,
            headers={name: value for name, value in given.items() if value},
            moved_to=self._moved_to(response.headers["Location"]),
            body=FlowerBody(connection, response, ends),
        )

    def _connected(self) -> http.client.HTTPConnection:
        parts = urlsplit(self.url)
        kind: type[http.client.HTTPConnection] = http.client.HTTPConnection
        if parts.scheme == "https":
            kind = http.client.HTTPSConnection
        connection = kind(parts.hostname or "", parts.port, timeout=CONNECT_SECONDS)
        try:
            connection.connect()
        except OSError as error:
            connection.close()
            raise FlowerAway(_said(error)) from error
        connection.sock.settimeout(SILENCE_SECONDS)
        return connection

    def _asked(self, headers: Mapping[str, str]) -> dict[str, str]:
        found = {name: headers[name] for name in ASKED if headers.get(name)}
        found["Connection"] = "close"
        if self.password is not None:
            login = f"{self.user}:{self.password}".encode()
            found["Authorization"] = "Basic " + base64.b64encode(login).decode()
        return found

    def _moved_to(self, location: str | None) -> str | None:
        """A redirect's path and query; ``None`` when it leads elsewhere."""
        parts = urlsplit(location or "")
        ours = urlsplit(self.url)
        if parts.netloc not in ("", ours.netloc) or not parts.path.startswith(
            self.prefix + "/"
        ):
            return None
        return parts.path + (f"?{parts.query}" if parts.query else "")


def _kept_inside(path: str) -> str:
    segments = path.split("/")
    if any(part in (".", "..") for part in segments) or "\\" in path:
        raise ValueError("a path that leads out of Flower")
    if any(ord(character) < 32 for character in path):
        raise ValueError("a path with control characters")
    return path


def _said(error: BaseException) -> str:
    return str(error).strip() or type(error).__name__
