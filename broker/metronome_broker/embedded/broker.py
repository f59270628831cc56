"""The broker's state: vhosts, the one user, and the faults that are on."""

from __future__ import annotations

import asyncio
import hmac

from metronome_broker.embedded.faults import Faults
from metronome_broker.embedded.vhost import Vhost


class Broker:
    """Everything in memory, touched only on one loop.

    Args:
        loop: the loop all of it runs on.
        user: the one user there is.
        password: its password.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, *, user: str, password: str
    ) -> None:
        self.loop = loop
        self.vhosts: dict[str, Vhost] = {}
        self.faults = Faults()
        self._user = user
        self._password = password
        self.vhost("/")

    def accepts(self, user: str, password: str) -> bool:
        """Whether these are the configured user and password."""
        right_user = hmac.compare_digest(_bytes(user), _bytes(self._user))
        right_password = hmac.compare_digest(_bytes(password), _bytes(self._password))
        return right_user and right_password

    def vhost(self, name: str) -> Vhost:
        """The vhost of that name, made when it is first asked for."""
        if name not in self.vhosts:
            self.vhosts[name] = Vhost(name, self.loop)
        return self.vhosts[name]

    def delete_vhost(self, name: str) -> bool:
        """Forget a vhost with all that is in it; False when there is none."""
        vhost = self.vhosts.pop(name, None)
        if vhost is None:
            return False
        for queue in list(vhost.queues.values()):
            vhost.delete_queue(queue)
        return True


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
