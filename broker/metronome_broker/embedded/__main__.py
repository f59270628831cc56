"""``python -m metronome_broker.embedded``: the embedded broker as a process."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Sequence

from metronome_broker.embedded.errors import EmbeddedBrokerError
from metronome_broker.embedded.server import EmbeddedBroker

NOTICE = (
    "development, demo and scripted-fault tests only; in memory, loopback only; "
    "losing it loses no run, as SQL publishes again"
)


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; the exit status."""
    args = _parser().parse_args(argv)
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    try:
        broker = EmbeddedBroker(
            args.host,
            args.port,
            args.management_port,
            user=args.user,
            password=os.environ.get(args.password_env, "guest"),
        )
        asyncio.run(_serve(broker, args.idle_exit))
    except (EmbeddedBrokerError, OSError) as error:
        print(f"metronome embedded broker: {error}", file=sys.stderr)
        return 1
    return 0


async def _serve(broker: EmbeddedBroker, idle_exit: float | None) -> None:
    def announce() -> None:
        print(
            f"metronome embedded broker: amqp://{broker.host}:{broker.port} "
            f"api=http://{broker.host}:{broker.management_port}/api/ ({NOTICE})",
            flush=True,
        )

    serving = asyncio.ensure_future(
        broker.serve(idle_exit=idle_exit, on_listening=announce)
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, serving.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await serving


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m metronome_broker.embedded",
        description=f"An AMQP 0-9-1 broker for {NOTICE}.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="a loopback address")
    parser.add_argument("--port", type=int, default=0, help="AMQP; 0: any free one")
    parser.add_argument(
        "--management-port", type=int, default=0, help="HTTP; 0: any free one"
    )
    parser.add_argument("--user", default="guest")
    parser.add_argument(
        "--password-env",
        default="METRONOME_EMBEDDED_PASSWORD",
        help="environment variable that holds the password; guest if it is unset",
    )
    parser.add_argument(
        "--idle-exit",
        type=float,
        metavar="SECONDS",
        help="exit after so long without a connection",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
