"""Mails and webhooks against servers of this process; Apprise as it is installed."""

from __future__ import annotations

import base64
import email
import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

from flask_metronome.channels import channels_of
from flask_metronome.errors import SettingInvalid
from flask_metronome.settings import Settings, read_settings
from metronome_monitoring.notify.channel import Notification, NotSent
from metronome_monitoring.notify.mail import mail
from metronome_monitoring.notify.webhook import webhook

NOTE = Notification(
    id="msg-1",
    timestamp=1_800_000_000,
    title="[Metronome] daily\nfailed",
    text="Was due: «now»\n",
    body={"version": 1, "type": "incident.opened", "data": {"incident": "i1"}},
)


# Apprise itself imports a module that Python has retired
APPRISE = pytest.mark.filterwarnings("ignore:.imghdr:DeprecationWarning")


@dataclass
class Mails:
    """A mail server that keeps what it gets."""

    port: int = 0
    found: list[Any] = field(default_factory=list)
    refuse: bool = False

    async def handle_DATA(
        self, _server: SMTP, _session: Session, envelope: Envelope
    ) -> str:
        if self.refuse:
            return "451 later"
        self.found.append(email.message_from_bytes(envelope.original_content or b""))
        return "250 OK"


@pytest.fixture
def mails(unused_port: int) -> Iterator[Mails]:
    sink = Mails(port=unused_port)

    def login(_server: Any, _session: Any, _env: Any, _how: str, data: Any) -> Any:
        good = (data.login, data.password) == (b"me", b"p@ss")
        return AuthResult(success=good, handled=False)

    server = Controller(
        sink,
        hostname="127.0.0.1",
        port=unused_port,
        authenticator=login,
        auth_require_tls=False,
    )
    server.start()
    yield sink
    server.stop()


@pytest.fixture
def unused_port() -> int:
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        return int(server.server_port)


@dataclass
class Hooks:
    """An HTTP server that keeps what is posted to it."""

    url: str = ""
    status: int = 204
    endless: bool = False
    over: threading.Event = field(default_factory=threading.Event)
    found: list[tuple[dict[str, str], bytes]] = field(default_factory=list)


@pytest.fixture
def hooks() -> Iterator[Hooks]:
    sink = Hooks()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            sink.found.append((dict(self.headers), self.rfile.read(length)))
            self.send_response(sink.status)
            if sink.endless:
                # a body that is never sent
                self.send_header("Content-Length", "9")
                self.end_headers()
                sink.over.wait(30)
                return
            if sink.status in (302, 307):
                self.send_header("Location", sink.url + "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_args: Any) -> None:
            """Says nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        sink.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield sink
        server.shutdown()
        thread.join()


def test_a_mail_arrives_in_its_thread(mails: Mails) -> None:
    url = f"smtp://me:p%40ss@127.0.0.1:{mails.port}"
    channel = mail(url, sender="m@shop.example", receivers=("a@x.example", "b@x"))
    channel.send(NOTE)
    (found,) = mails.found
    assert found["Subject"] == "[Metronome] daily failed"
    assert (found["From"], found["To"]) == ("m@shop.example", "a@x.example, b@x")
    assert found["References"] == "<i1@metronome>"
    assert found["Date"] == "Fri, 15 Jan 2027 08:00:00 +0000"
    assert found.get_payload(decode=True).decode().split() == NOTE.text.split()
    assert "p@ss" not in repr(channel) + channel.shown + channel.id


@pytest.mark.parametrize("user", ["me:wrong@", ""])
def test_a_mail_that_is_refused_says_why(mails: Mails, user: str) -> None:
    mails.refuse = True
    url = f"smtp://{user}127.0.0.1:{mails.port}"
    with pytest.raises(NotSent, match=r"535|451") as refused:
        mail(url, sender="m@x", receivers=("a@x",)).send(NOTE)
    assert not refused.value.final
    assert "wrong" not in str(refused.value)


def test_a_mail_server_that_is_away_says_so(unused_port: int) -> None:
    url = f"smtp://127.0.0.1:{unused_port}"
    with pytest.raises(NotSent, match=str(unused_port)):
        mail(url, sender="m@x", receivers=("a@x",)).send(NOTE)


def test_encryption_that_cannot_be_had_stops_the_mail(mails: Mails) -> None:
    url = f"smtp://127.0.0.1:{mails.port}?starttls=true"
    with pytest.raises(NotSent, match="STARTTLS"):
        mail(url, sender="m@x", receivers=("a@x",)).send(NOTE)
    assert mails.found == []


@pytest.mark.parametrize(
    ("secret", "key"),
    [
        ("a plain secret", b"a plain secret"),
        ("whsec_" + base64.b64encode(b"\x00\xff key").decode(), b"\x00\xff key"),
    ],
)
def test_a_webhook_is_signed_as_standard_webhooks_say(
    hooks: Hooks, secret: str, key: bytes
) -> None:
    webhook(hooks.url + "/hook", secret=secret).send(NOTE)
    ((headers, body),) = hooks.found
    found = {name.lower(): value for name, value in headers.items()}
    signed = b"msg-1.1800000000." + body
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest())
    assert found["webhook-signature"] == f"v1,{expected.decode()}"
    assert (found["webhook-id"], found["webhook-timestamp"]) == ("msg-1", "1800000000")
    assert found["content-type"] == "application/json"
    assert json.loads(body) == NOTE.body


@pytest.mark.parametrize("prefix", ["whsec_", ""])
def test_a_key_without_its_prefix_is_read_either_way(hooks: Hooks, prefix: str) -> None:
    key = bytes(range(24))
    secret = prefix + base64.b64encode(key).decode()
    webhook(hooks.url, secret=secret).send(NOTE)
    ((headers, body),) = hooks.found
    found = {name.lower(): value for name, value in headers.items()}
    signatures = set(found["webhook-signature"].split())
    signed = b"msg-1.1800000000." + body
    digests = (
        hmac.new(each, signed, hashlib.sha256).digest()
        for each in (key, secret.encode())
    )
    by_key, by_text = (f"v1,{base64.b64encode(one).decode()}" for one in digests)
    assert signatures == ({by_key} if prefix else {by_key, by_text})


@pytest.mark.parametrize(
    ("status", "final"),
    [(302, False), (307, False), (400, False), (410, True), (429, False), (503, False)],
)
def test_only_a_good_answer_is_one(hooks: Hooks, status: int, final: bool) -> None:
    hooks.status = status
    with pytest.raises(NotSent, match=str(status)) as refused:
        webhook(hooks.url + "/secret-path", secret=None).send(NOTE)
    assert refused.value.final is final
    assert len(hooks.found) == 1, "a redirect must not be followed"
    assert "secret-path" not in str(refused.value)
    assert "webhook-signature" not in {n.lower() for n in hooks.found[0][0]}


def test_a_good_answer_is_one_however_long_its_body_takes(hooks: Hooks) -> None:
    hooks.endless, hooks.status = True, 200
    webhook(hooks.url, secret=None).send(NOTE)
    hooks.over.set()
    assert len(hooks.found) == 1


def test_a_webhook_that_is_away_says_so(unused_port: int) -> None:
    with pytest.raises(NotSent, match="refused"):
        webhook(f"http://127.0.0.1:{unused_port}/", secret=None).send(NOTE)


def settings(**values: Any) -> Settings:
    given = {f"METRONOME_{name.upper()}": value for name, value in values.items()}
    return read_settings(given, instance_path="/nowhere", environ={})


@APPRISE
def test_apprise_sends_by_its_own_urls(hooks: Hooks) -> None:
    url = hooks.url.replace("http://", "json://") + "/own-secret"
    (channel,) = channels_of(settings(notify_urls=[url]))
    channel.send(NOTE)
    assert json.loads(hooks.found[0][1])["message"].startswith("Was due")
    hooks.status = 500
    with pytest.raises(NotSent, match="Apprise"):
        channel.send(NOTE)
    assert "own-secret" not in repr(channel) + channel.shown + channel.id


@APPRISE
@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("SMTP_URL", {"smtp_url": "http://x", "mail_from": "a@x", "mail_to": "b@x"}),
        ("SMTP_URL", {"smtp_url": "smtp://h:x", "mail_from": "a@x", "mail_to": "b@x"}),
        ("MAIL_TO", {"smtp_url": "smtp://h", "mail_from": "a@x"}),
        ("SMTP_URL", {"mail_from": "a@x", "mail_to": "b@x"}),
        ("WEBHOOK_URLS", {"webhook_urls": "ftp://host/s3cret"}),
        ("WEBHOOK_URLS", {"webhook_urls": "https://u:s3cret@host/"}),
        ("WEBHOOK_SECRET", {"webhook_urls": "https://h", "webhook_secret": "whsec_!"}),
        ("WEBHOOK_SECRET", {"webhook_urls": "https://h", "webhook_secret": "whsec_"}),
        ("WEBHOOK_URLS", {"webhook_urls": "https://h/s3cret-ä"}),
        (
            "SMTP_URL",
            {"smtp_url": "smtp://u:s3cret-ä@h", "mail_from": "a@x", "mail_to": "b@x"},
        ),
        ("NOTIFY_URLS", {"notify_urls": "nonsense://s3cret"}),
        ("EVENTS", {"events": "maybe"}),
    ],
)
def test_wrong_settings_are_named_without_their_secrets(
    name: str, values: dict[str, Any]
) -> None:
    with pytest.raises(SettingInvalid, match=f"METRONOME_{name}") as wrong:
        channels_of(settings(**values))
    assert "s3cret" not in str(wrong.value)


def test_every_channel_that_is_set_is_there() -> None:
    found = channels_of(
        settings(
            smtp_url="smtp://h",
            mail_from="a@x",
            mail_to="b@x, c@x",
            webhook_urls="https://one.example/a,https://two.example/b",
        )
    )
    assert [channel.kind for channel in found] == ["mail", "webhook", "webhook"]
    assert len({channel.id for channel in found}) == 3
    assert channels_of(settings()) == ()
