"""A mail server that delivers nothing: every mail becomes a file.

``python -m flask_metronome.demo.smtp_sink --port 2525 --folder mails``
"""

from __future__ import annotations

import asyncio
import signal
import uuid
from pathlib import Path

import click
from aiosmtpd.smtp import SMTP, Envelope
from aiosmtpd.smtp import Session as SmtpSession


class Sink:
    """Takes every mail and writes it to a folder.

    :param folder: gets one ``.eml`` file a mail.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder

    async def handle_DATA(
        self, _server: SMTP, _session: SmtpSession, envelope: Envelope
    ) -> str:
        """Write the mail under a name that only whole files have."""
        content = envelope.original_content or b""
        name = uuid.uuid4().hex
        part = self._folder / f"{name}.part"
        part.write_bytes(content)
        part.replace(self._folder / f"{name}.eml")
        return "250 Message accepted"


async def serve(host: str, port: int, folder: Path) -> None:
    """Listen until SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    sink = Sink(folder)
    server = await loop.create_server(lambda: SMTP(sink), host, port)
    async with server:
        click.echo(f"mail sink on {host}:{port}, mails go to {folder}")
        await stop.wait()


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=int, default=2525, show_default=True)
@click.option("--folder", type=click.Path(path_type=Path), required=True)
def main(host: str, port: int, folder: Path) -> None:
    """Take mail and write it to a folder."""
    asyncio.run(serve(host, port, folder))


if __name__ == "__main__":
    main()
