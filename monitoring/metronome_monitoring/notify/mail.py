"""Notifications by mail."""

from __future__ import annotations

import smtplib
import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import EmailMessage
from urllib.parse import parse_qs, unquote, urlsplit

from metronome_monitoring.notify.channel import (
    TIMEOUT_SECONDS,
    ChannelInvalid,
    Notification,
    NotSent,
    channel_id,
)

_EXPECTED = "smtp://user:password@host:port?starttls=true or smtps://…"
_YES = {"true", "yes", "on", "1"}
_PORTS = {"smtp": 25, "smtps": 465}


@dataclass(frozen=True, kw_only=True, slots=True)
class Mail:
    """An SMTP server, a sender and receivers.

    :param starttls: encrypt after the greeting, or do not send.
    """

    host: str
    port: int
    sender: str
    receivers: tuple[str, ...]
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: bool = False
    starttls: bool = False
    kind: str = "mail"

    @property
    def id(self) -> str:
        """Follows from server and receivers."""
        return channel_id("mail", f"{self.host}:{self.port} {self.receivers}")

    @property
    def shown(self) -> str:
        """To whom, by which server."""
        return f"mail to {', '.join(self.receivers)} by {self.host}:{self.port}"

    def send(self, notification: Notification) -> None:
        """Hand the mail to the server.

        :raises NotSent: the server is away or refuses it.
        """
        try:
            with self._connected() as server:
                server.send_message(self._message(notification))
        except (OSError, smtplib.SMTPException) as error:
            raise NotSent(f"{self.host}:{self.port}: {_said(error)}") from error

    def _connected(self) -> smtplib.SMTP:
        context = ssl.create_default_context()
        if self.tls:
            server: smtplib.SMTP = smtplib.SMTP_SSL(
                self.host, self.port, timeout=TIMEOUT_SECONDS, context=context
            )
        else:
            server = smtplib.SMTP(self.host, self.port, timeout=TIMEOUT_SECONDS)
        try:
            if self.starttls:
                server.starttls(context=context)
            if self.user is not None:
                server.login(self.user, self.password or "")
        except BaseException:
            server.close()
            raise
        return server

    def _message(self, notification: Notification) -> EmailMessage:
        message = EmailMessage()
        message["Subject"] = " ".join(notification.title.split())
        message["From"] = self.sender
        message["To"] = ", ".join(self.receivers)
        message["Date"] = datetime.fromtimestamp(notification.timestamp, UTC)
        message["Message-ID"] = f"<{notification.id}@metronome>"
        message["Auto-Submitted"] = "auto-generated"
        incident = notification.body.get("data", {}).get("incident")
        if incident:
            # the mails of one incident are one thread
            message["References"] = f"<{incident}@metronome>"
        message.set_content(notification.text)
        return message


def mail(url: str, *, sender: str, receivers: tuple[str, ...]) -> Mail:
    """The channel of an SMTP URL.

    :raises ChannelInvalid: the URL cannot be understood.
    """
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        raise ChannelInvalid(_EXPECTED) from None
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ChannelInvalid(_EXPECTED)
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if not (user + password).isascii():
        # smtplib cannot send them
        raise ChannelInvalid("a user and a password in ASCII")
    options = parse_qs(parts.query)
    if set(options) - {"starttls"}:
        raise ChannelInvalid(_EXPECTED)
    return Mail(
        host=parts.hostname,
        port=port or _PORTS[parts.scheme],
        sender=sender,
        receivers=receivers,
        user=user or None,
        password=password or None,
        tls=parts.scheme == "smtps",
        starttls=options.get("starttls", ["false"])[-1].lower() in _YES,
    )


def _said(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text or type(error).__name__
