"""A mail server and a webhook receiver of this process."""

from __future__ import annotations

import base64
import email
import hashlib
import hmac
import json
import threading
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session


class MailServer:
    """Takes every mail; ``found`` has them in order."""

    def __init__(self, port: int) -> None:
        self.found: list[Message] = []
        self._server = Controller(self, hostname="127.0.0.1", port=port)
        self.url = f"smtp://127.0.0.1:{port}"

    async def handle_DATA(
        self, _server: SMTP, _session: Session, envelope: Envelope
    ) -> str:
        self.found.append(email.message_from_bytes(envelope.original_content or b""))
        return "250 OK"

    def start(self) -> None:
        self._server.start()

    def stop(self) -> None:
        self._server.stop()

    @property
    def subjects(self) -> list[str]:
        return [str(message["Subject"]) for message in self.found]


class HookServer:
    """Takes every webhook whose signature is right; the others are ``refused``."""

    def __init__(self, secret: str) -> None:
        self.found: list[dict[str, Any]] = []
        self.refused = 0
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                signed = f"{self.headers['webhook-id']}.".encode()
                signed += f"{self.headers['webhook-timestamp']}.".encode() + body
                digest = hmac.new(secret.encode(), signed, hashlib.sha256).digest()
                expected = f"v1,{base64.b64encode(digest).decode()}"
                right = self.headers["webhook-signature"] == expected
                if right:
                    receiver.found.append(json.loads(body))
                else:
                    receiver.refused += 1
                self.send_response(204 if right else 401)
                self.end_headers()

            def log_message(self, *_args: Any) -> None:
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"
        self._thread = threading.Thread(target=self._server.serve_forever)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def types(self) -> list[str]:
        return [str(body["type"]) for body in self.found]
