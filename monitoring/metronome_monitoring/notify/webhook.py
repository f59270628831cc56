"""Notifications as webhooks, signed after Standard Webhooks.

Hosts of the own network are allowed: who sets the URL runs the system, and
alert receivers often live there. Redirects are refused, so that a receiver
cannot send us on to somewhere else.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from metronome_monitoring.notify.channel import (
    TIMEOUT_SECONDS,
    ChannelInvalid,
    Notification,
    NotSent,
    channel_id,
)

_PREFIX = "whsec_"
#: Standard Webhooks wants keys of 24 to 64 bytes.
_LEAST_KEY_BYTES = 24


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        """None: the answer is an error like any other."""
        return


@dataclass(frozen=True, kw_only=True, slots=True)
class Webhook:
    """One URL that takes notifications.

    :param keys: of the signatures, one each; none: unsigned.
    """

    url: str = field(repr=False)
    keys: tuple[bytes, ...] = field(default=(), repr=False)
    kind: str = "webhook"

    @property
    def id(self) -> str:
        """Follows from the URL."""
        return channel_id("webhook", self.url)

    @property
    def shown(self) -> str:
        """The host: a path may be a secret."""
        return f"webhook to {urlsplit(self.url).netloc}"

    def send(self, notification: Notification) -> None:
        """Post the notification's body.

        :raises NotSent: no answer, or one that is not 2xx; after 410 for good.
        """
        body = json.dumps(notification.body, separators=(",", ":")).encode()
        request = urllib.request.Request(
            self.url, data=body, headers=self._headers(notification, body)
        )
        opener = urllib.request.build_opener(_NoRedirect)
        try:
            # its status is all that is asked for: what follows may take its time
            opener.open(request, timeout=TIMEOUT_SECONDS).close()
        except urllib.error.HTTPError as error:
            error.close()
            raise NotSent(
                f"{self.shown}: it answered {error.code} {error.reason}",
                final=error.code == http.HTTPStatus.GONE,
            ) from None
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            raise NotSent(f"{self.shown}: {reason or type(error).__name__}") from error

    def _headers(self, notification: Notification, body: bytes) -> dict[str, str]:
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "Flask-Metronome",
            "webhook-id": notification.id,
            "webhook-timestamp": str(notification.timestamp),
        }
        if self.keys:
            headers["webhook-signature"] = " ".join(
                signature(key, notification.id, notification.timestamp, body)
                for key in self.keys
            )
        return headers


def signature(secret: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    """The value of ``webhook-signature``: ``v1,`` and the base64 of the HMAC."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    digest = hmac.new(secret, signed, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def webhook(url: str, *, secret: str | None) -> Webhook:
    """The channel of a URL.

    :param secret: see :func:`keys_of`; ``None``: unsigned.
    :raises ChannelInvalid: the URL or the secret cannot be used.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ChannelInvalid("http:// or https:// URLs")
    if parts.username or parts.password:
        raise ChannelInvalid("URLs without user and password")
    if not url.isascii():
        raise ChannelInvalid("URLs in ASCII, other letters encoded")
    return Webhook(url=url, keys=() if secret is None else keys_of(secret))


def keys_of(secret: str) -> tuple[bytes, ...]:
    """The keys that a secret stands for.

    :param secret: text, or ``whsec_`` and the base64 of the key. Text that is the
        base64 of a key itself stands for two: the libraries of Standard Webhooks
        read it with or without ``whsec_``.
    :raises ChannelInvalid: there is no base64 after ``whsec_``.
    """
    key = _decoded(secret.removeprefix(_PREFIX))
    if secret.startswith(_PREFIX):
        if not key:
            raise ChannelInvalid("base64 after whsec_")
        return (key,)
    text = secret.encode()
    return (text, key) if len(key) >= _LEAST_KEY_BYTES else (text,)


def _decoded(secret: str) -> bytes:
    """The key that this is the base64 of; empty: of none."""
    try:
        return base64.b64decode(secret, validate=True)
    except ValueError:
        return b""
