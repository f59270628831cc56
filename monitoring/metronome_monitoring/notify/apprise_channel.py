"""Notifications by whatever Apprise knows; an extra, loaded only when it is used."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

from metronome_monitoring.notify.channel import (
    ChannelInvalid,
    Notification,
    NotSent,
    channel_id,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Apprise:
    """One Apprise URL."""

    url: str = field(repr=False)
    plugin: Any = field(repr=False)
    kind: str = "apprise"

    @property
    def id(self) -> str:
        """Follows from the URL."""
        return channel_id("apprise", self.url)

    @property
    def shown(self) -> str:
        """The scheme: everything else may be a secret."""
        return f"apprise {urlsplit(self.url).scheme}://…"

    def send(self, notification: Notification) -> None:
        """Let Apprise send it.

        :raises NotSent: it says no; why is in its own log.
        """
        try:
            sent = self.plugin.notify(title=notification.title, body=notification.text)
        except Exception as error:
            raise NotSent(f"{self.shown}: {type(error).__name__}") from error
        if not sent:
            raise NotSent(f"{self.shown}: Apprise could not send it, see its log")


def apprise(url: str) -> Apprise:
    """The channel of an Apprise URL.

    :raises ModuleNotFoundError: Apprise is not installed.
    :raises ChannelInvalid: Apprise does not know the URL.
    """
    sender = import_module("apprise").Apprise()
    if not sender.add(url):
        raise ChannelInvalid("URLs that Apprise knows")
    return Apprise(url=url, plugin=sender)
