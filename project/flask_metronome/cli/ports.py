"""Free TCP ports."""

from __future__ import annotations

import socket
from collections.abc import Collection

_TRIES = 100


def free_port(wanted: int, host: str, *, taken: Collection[int] = ()) -> int:
    """The wanted port, or the next one that nobody listens on.

    :param taken: ports that are promised to somebody already.
    :raises OSError: no port near it is free, or ``host`` is not ours.
    """
    for port in range(wanted, min(wanted + _TRIES, 65_536)):
        if port not in taken and _is_free(port, host):
            return port
    raise OSError(f"no free port on {host} from {wanted} on")


def _is_free(port: int, host: str) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # A port whose last connections are only closing is free for a server.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True
