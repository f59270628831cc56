"""What the values of settings must be; each check names the setting and what came.

What came is shown only where it cannot hold a password.
"""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from flask_metronome.errors import SettingInvalid
from metronome_broker import InvalidLane, check_lane_name

_AMQP = ("amqp", "amqps", "pyamqp")
_HTTP = ("http", "https")


def check_choice(key: str, value: str, choices: tuple[str, ...]) -> None:
    """One of a few words.

    :raises SettingInvalid: as do all the others here.
    """
    if value not in choices:
        raise SettingInvalid(key, "one of " + ", ".join(choices), value)


def check_zone(key: str, value: str) -> None:
    """A time zone that this machine knows."""
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise SettingInvalid(key, "an IANA time zone", value) from None


def check_path(key: str, value: str) -> None:
    """The path of a URL, and not its root."""
    if not value.startswith("/") or value.endswith("/"):
        raise SettingInvalid(key, "a path like /metronome", value)


def check_lane(key: str, name: str) -> None:
    """What can be a lane's name."""
    try:
        check_lane_name(name)
    except InvalidLane:
        expected = "a lane name (at most 63 of a-z, 0-9, _ and -; not dead or unrouted)"
        raise SettingInvalid(key, expected, name) from None


def check_amqp(key: str, value: str) -> None:
    """An AMQP URL, or several with ``;`` between them."""
    for url in value.split(";"):
        parts = _parts(url)
        if parts is None or parts.scheme not in _AMQP or "://" not in url:
            got = "…" if "://" not in url else url.partition("://")[0] + "://…"
            raise SettingInvalid(key, "a URL like amqp://user:**@host:5672/", got)


def check_http(key: str, value: str, example: str, *, plain: bool = False) -> None:
    """An HTTP URL; a plain one holds no user and no query."""
    parts = _parts(value)
    right = parts is not None and parts.scheme in _HTTP and bool(parts.hostname)
    if right and parts is not None and plain:
        right = not (parts.query or parts.fragment or parts.username)
    if not right:
        got = "…" if "@" in value else value
        raise SettingInvalid(key, f"a URL like {example}", got)


def _parts(url: str) -> SplitResult | None:
    """A URL in its parts; ``None`` where its port is no port."""
    try:
        parts = urlsplit(url)
        right = parts.port is None or parts.port > 0
    except ValueError:
        return None
    return parts if right else None
