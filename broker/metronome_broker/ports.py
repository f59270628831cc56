"""TCP ports on loopback that nobody listens on right now."""

from __future__ import annotations

import contextlib
import socket


def free_ports(count: int) -> list[int]:
    """That many different free ports; held together so that none comes twice."""
    with contextlib.ExitStack() as held:
        ports = []
        for _ in range(count):
            sock = held.enter_context(socket.socket())
            sock.bind(("127.0.0.1", 0))
            ports.append(int(sock.getsockname()[1]))
        return ports
