"""The channels of notifications that the settings name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from flask_metronome.errors import SettingInvalid
from flask_metronome.settings import PREFIX, Settings
from metronome_monitoring.notify.apprise_channel import apprise
from metronome_monitoring.notify.channel import Channel, ChannelInvalid
from metronome_monitoring.notify.mail import mail
from metronome_monitoring.notify.webhook import keys_of, webhook

T = TypeVar("T")


def channels_of(settings: Settings) -> tuple[Channel, ...]:
    """Every channel; none, when none is set.

    :raises SettingInvalid: a URL or a secret cannot be used, or one is missing.
    :raises ModuleNotFoundError: ``METRONOME_NOTIFY_URLS`` needs Apprise.
    """
    found: list[Channel] = []
    if settings.smtp_url or settings.mail_to or settings.mail_from:
        found.append(_mail(settings))
    secret = settings.webhook_secret
    if secret is not None:
        _made("WEBHOOK_SECRET", keys_of, secret)
    found += [
        _made("WEBHOOK_URLS", webhook, url, secret=secret)
        for url in settings.webhook_urls
    ]
    found += [_made("NOTIFY_URLS", apprise, url) for url in settings.notify_urls]
    return tuple(found)


def _mail(settings: Settings) -> Channel:
    for name in ("smtp_url", "mail_from", "mail_to"):
        if not getattr(settings, name):
            raise SettingInvalid(
                PREFIX + name.upper(), "a value, or mail cannot be sent", None
            )
    return _made(
        "SMTP_URL",
        mail,
        settings.smtp_url or "",
        sender=settings.mail_from,
        receivers=settings.mail_to,
    )


def _made(name: str, make: Callable[..., T], value: str, **more: Any) -> T:
    try:
        return make(value, **more)
    except ChannelInvalid as error:
        # not what came: it may hold a password
        raise SettingInvalid(PREFIX + name, str(error), "…") from None
