"""What can be set, read once from ``app.config`` and the environment.

Every name begins with ``METRONOME_``. ``app.config`` wins over the
environment. An unknown name or a wrong value is an error that names it.

=============================  ==============================================
``DATABASE_URL``               SQLAlchemy URL (sync or async driver name);
                               default: SQLite in ``DATA_DIR``
``DATA_DIR``                   folder for the embedded parts and the spool;
                               default: ``<instance path>/metronome``
``BROKER_URL``                 AMQP URL; default: picked by ``BROKER``
``BROKER``                     ``auto`` (Docker, installed RabbitMQ, embedded),
                               ``docker``, ``node`` or ``embedded``
``BROKER_API_URL``             RabbitMQ management API, for Flower's page
``LANES``                      the lanes, beside those that tasks name
                               (list, or words separated by commas)
``DEFAULT_LANE``               lane of a task that names none (``default``)
``DELIVERY_LIMIT``             redeliveries before a message is dead (20)
``TIMEZONE``                   zone of a cron that names none (``UTC``)
``URL_PREFIX``                 where pages and API live (``/metronome``)
``API_TOKEN``                  bearer token for pages and API; unset: reading
                               is open and writing only from this machine
``PAGE_SECONDS``               how often the pages refresh themselves (5)
``STREAMS``                    clients that one process streams changes to at
                               once; each holds one of its threads (3)
``STREAM_SECONDS``             after which a stream ends, and its client begins
                               the next where it ended (25)
``FLOWER_URL``                 where this app reaches Flower, which it then shows
                               at ``<prefix>/flower/`` (``http://flower:5555``);
                               a path in it is Flower's ``url_prefix``, by
                               default ``<prefix>/flower``
``FLOWER_USER``                Flower's user (``metronome``)
``FLOWER_PASSWORD``            Flower's password; unset: made at start and
                               printed
``BEAT_BATCH``                 due schedules claimed in one transaction (200)
``BEAT_MAX_SLEEP_SECONDS``     longest sleep of a beat, so also the longest
                               wait for an edit (1.0)
``CONFIRM_TIMEOUT_SECONDS``    wait for the broker's confirm (5.0)
``PUBLISH_LEASE_SECONDS``      how long a beat owns a batch it publishes; less than
                               the least grace, 30 s, or what a dead beat held is
                               missed (15)
``PUBLISH_WINDOW``             unconfirmed messages at once (200)
``GRACE_SECONDS``              lateness that is still on time; default: half the
                               interval, 30 s to 30 min
``CATCHUP``                    of what was missed: ``latest``, ``earliest``,
                               ``all`` or ``none`` (``latest``)
``CATCHUP_LIMIT``              runs that ``all`` makes at the most, up to 10000;
                               also the length of a line that waits (100)
``CATCHUP_WINDOW_SECONDS``     how far back ``all`` looks (86400)
``LEASE_SECONDS``              how often a worker says that it lives; silent for
                               three of them it is taken for dead (30)
``MONITOR_SECONDS``            pause between two sweeps (2.0)
``DATABASE_TIMEOUT_SECONDS``   deadline of one statement (10.0)
``CLAIM_WAIT_SECONDS``         how long a worker waits for the database
                               before it hands a delivery back (30.0)
``PUBLIC_URL``                 where people reach the app, for the links in
                               notifications (``https://shop.example``)
``MAIL_FROM``                  sender of notifications by mail
``MAIL_TO``                    their receivers (list)
``SMTP_URL``                   ``smtp://user:password@host:587?starttls=true``
                               or ``smtps://…``
``WEBHOOK_URLS``               what notifications are posted to (list); hosts
                               of the own network are allowed
``WEBHOOK_SECRET``             signs them (Standard Webhooks); text, or
                               ``whsec_`` and base64; text that is base64 of
                               24 bytes or more gets a signature for either
``NOTIFY_URLS``                Apprise URLs (list; extra ``notify``)
``NOTIFY_DELAY_SECONDS``       wait before telling of an incident that may be
                               part of a greater one (30)
``NOTIFY_AGAIN_SECONDS``       remind of an open incident after this, until
                               somebody acknowledges it (86400)
``EVENTS``                     publish run and incident events on the exchange
                               ``metronome.events`` (``false``)
``RESULT_DAYS``                days a result is kept (7)
``HISTORY_DAYS``               days a run is kept (90)
``REDACT``                     key patterns whose values nobody is shown
                               (``password,secret,token,authorization,…``)
=============================  ==============================================
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_type_hints
from urllib.parse import urlsplit

from flask_metronome.core.schedule import MOST_CAUGHT_UP
from flask_metronome.errors import SettingInvalid
from flask_metronome.setting_checks import (
    check_amqp,
    check_choice,
    check_http,
    check_lane,
    check_path,
    check_zone,
)

PREFIX = "METRONOME_"
#: Read by the test suite and the demo, not by the product.
FOREIGN_PREFIXES = ("METRONOME_TEST_", "METRONOME_DEMO_", "METRONOME_PORT")

_CHOICES: dict[str, tuple[str, ...]] = {
    "broker": ("auto", "docker", "node", "embedded"),
    "catchup": ("latest", "earliest", "all", "none"),
}
_HTTP_URLS = {
    "flower_url": "http://flower:5555",
    "public_url": "https://shop.example",
    "broker_api_url": "http://user:**@host:15672/api/",
}
_POSITIVE = "a number above 0"
_YES, _NO = {"true", "yes", "on", "1"}, {"false", "no", "off", "0"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """One Flask app's settings; see the table above for each."""

    data_dir: Path
    database_url: str
    broker_url: str | None = None
    broker: str = "auto"
    broker_api_url: str | None = None
    lanes: tuple[str, ...] = ()
    default_lane: str = "default"
    delivery_limit: int = 20
    timezone: str = "UTC"
    url_prefix: str = "/metronome"
    api_token: str | None = None
    page_seconds: float = 5.0
    streams: int = 3
    stream_seconds: float = 25.0
    flower_url: str | None = None
    flower_user: str = "metronome"
    flower_password: str | None = None
    beat_batch: int = 200
    beat_max_sleep_seconds: float = 1.0
    confirm_timeout_seconds: float = 5.0
    publish_lease_seconds: float = 15.0
    publish_window: int = 200
    grace_seconds: float | None = None
    catchup: str = "latest"
    catchup_limit: int = 100
    catchup_window_seconds: float = 86_400.0
    lease_seconds: float = 30.0
    monitor_seconds: float = 2.0
    database_timeout_seconds: float = 10.0
    claim_wait_seconds: float = 30.0
    public_url: str | None = None
    mail_from: str | None = None
    mail_to: tuple[str, ...] = ()
    smtp_url: str | None = None
    webhook_urls: tuple[str, ...] = ()
    webhook_secret: str | None = None
    notify_urls: tuple[str, ...] = ()
    notify_delay_seconds: float = 30.0
    notify_again_seconds: float = 86_400.0
    events: bool = False
    result_days: float = 7.0
    history_days: float = 90.0
    redact: tuple[str, ...] = (
        "password",
        "passwd",
        "secret",
        "token",
        "authorization",
        "api_key",
        "apikey",
        "credential",
    )

    @property
    def flower_path(self) -> str:
        """The path that Flower is under, when this app shows it."""
        path = urlsplit(self.flower_url or "").path.rstrip("/")
        return path or self.url_prefix + "/flower"

    @property
    def flower_password_file(self) -> Path:
        """Where Flower keeps the password that it makes when none is set."""
        return self.data_dir / "flower-password"


def read_settings(
    config: Mapping[str, Any], *, instance_path: str, environ: Mapping[str, str]
) -> Settings:
    """Read and check every ``METRONOME_*`` value, once.

    :param config: ``app.config``; it wins over ``environ``.
    :param instance_path: the app's instance folder, for the defaults.
    :raises SettingInvalid: naming the key, what was expected, what came.
    """
    known = {PREFIX + field.name.upper(): field.name for field in fields(Settings)}
    given = _given(config, environ)
    for key in given:
        if key not in known and not key.startswith(FOREIGN_PREFIXES):
            raise SettingInvalid(key, f"a known setting{_nearest(key, known)}", key)
    hints = get_type_hints(Settings)
    values = {
        known[key]: _convert(key, value, hints[known[key]])
        for key, value in given.items()
        if key in known and value is not None and value != ""
    }
    data_dir = values.setdefault("data_dir", Path(instance_path) / "metronome")
    values.setdefault("database_url", f"sqlite:///{data_dir / 'metronome.sqlite'}")
    settings = Settings(**values)
    _check(settings)
    return settings


def _given(config: Mapping[str, Any], environ: Mapping[str, str]) -> dict[str, Any]:
    merged: dict[str, Any] = {k: v for k, v in environ.items() if k.startswith(PREFIX)}
    merged.update({k: v for k, v in config.items() if k.startswith(PREFIX)})
    return merged


def _nearest(key: str, known: Mapping[str, str]) -> str:
    close = difflib.get_close_matches(key, known, n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def _convert(key: str, value: Any, hint: Any) -> Any:
    text = str(hint)
    if hint is bool:
        return _yes_or_no(key, value)
    if "tuple" in text:
        return _words(key, value)
    if hint is Path:
        return Path(value)
    if "int" in text:
        return _number(key, value, int, "a whole number above 0")
    if "float" in text:
        return _number(key, value, float, _POSITIVE)
    if not isinstance(value, str):
        raise SettingInvalid(key, "text", value)
    return value


def _yes_or_no(key: str, value: Any) -> bool:
    said = str(value).strip().lower()
    if said not in _YES | _NO:
        raise SettingInvalid(key, "true or false", value)
    return said in _YES


def _words(key: str, value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        return tuple(word.strip() for word in value.split(",") if word.strip())
    if isinstance(value, (list, tuple)) and all(isinstance(v, str) for v in value):
        return tuple(value)
    raise SettingInvalid(key, "a list of words", value)


def _number(key: str, value: Any, kind: type, expected: str) -> Any:
    if isinstance(value, bool):
        raise SettingInvalid(key, expected, value)
    try:
        number = kind(value)
    except (TypeError, ValueError):
        raise SettingInvalid(key, expected, value) from None
    if not 0 < number < 1e12 or (kind is int and float(value) != number):
        raise SettingInvalid(key, expected, value)
    return number


def _check(settings: Settings) -> None:
    for name, choices in _CHOICES.items():
        check_choice(PREFIX + name.upper(), getattr(settings, name), choices)
    check_zone(PREFIX + "TIMEZONE", settings.timezone)
    if settings.catchup_limit > MOST_CAUGHT_UP:
        expected = f"a whole number up to {MOST_CAUGHT_UP}"
        key = PREFIX + "CATCHUP_LIMIT"
        raise SettingInvalid(key, expected, settings.catchup_limit)
    check_path(PREFIX + "URL_PREFIX", settings.url_prefix)
    check_lane(PREFIX + "DEFAULT_LANE", settings.default_lane)
    for lane in settings.lanes:
        check_lane(PREFIX + "LANES", lane)
    if settings.broker_url:
        check_amqp(PREFIX + "BROKER_URL", settings.broker_url)
    for name, example in _HTTP_URLS.items():
        url = getattr(settings, name)
        if url:
            key = PREFIX + name.upper()
            check_http(key, url, example, plain=name != "broker_api_url")


def settings_from_app(app: Any) -> Settings:
    """The settings of a Flask app, from its config and this process's environment."""
    return read_settings(
        app.config, instance_path=app.instance_path, environ=os.environ
    )
