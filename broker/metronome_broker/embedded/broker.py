"""The broker's state: vhosts, connections, credentials and the faults that are on."""

from __future__ import annotations

import asyncio
import hmac

from metronome_broker.embedded.connection import Connection
from metronome_broker.embedded.faults import Fault, Faults
from metronome_broker.embedded.link import Link
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
        self.user = user
        self.vhosts: dict[str, Vhost] = {}
        self.connections: set[Connection] = set()
        self.faults = Faults()
        self._idle_since = loop.time()
        self._password = password
        self.vhost("/")

    @property
    def idle_seconds(self) -> float:
        """For how long nobody has been connected."""
        return 0.0 if self.connections else self.loop.time() - self._idle_since

    def accepts(self, user: str, password: str) -> bool:
        """Whether these are the configured user and password."""
        right_user = hmac.compare_digest(_bytes(user), _bytes(self.user))
        right_password = hmac.compare_digest(_bytes(password), _bytes(self._password))
        return right_user and right_password

    def vhost(self, name: str) -> Vhost:
        """The vhost of that name, made when it is first asked for."""
        if name not in self.vhosts:
            self.vhosts[name] = Vhost(name, self.loop)
        return self.vhosts[name]

    def delete_vhost(self, name: str) -> bool:
        """Forget a vhost and cut its connections; False when there is none."""
        vhost = self.vhosts.get(name)
        if vhost is None:
            return False
        for connection in list(self.connections):
            if connection.vhost_name == name:
                connection.link.abort()
        for queue in list(vhost.queues.values()):
            vhost.delete_queue(queue)
        del self.vhosts[name]
        return True

    def accept(self) -> Link:
        """The protocol of a new TCP connection, for asyncio's create_server."""
        link = Link(self.loop)
        connection = Connection(self, link)
        link.session = connection
        self.connections.add(connection)
        if self.faults.frozen:
            self._freeze(connection)
        return link

    def forget(self, connection: Connection) -> None:
        """Note that a connection is gone."""
        self.connections.discard(connection)
        if not self.connections:
            self._idle_since = self.loop.time()

    def inject(self, fault: Fault) -> None:
        """Start or end scripted faults."""
        blocked, frozen = self.faults.blocked, self.faults.frozen
        self.faults.apply(fault)
        for connection in list(self.connections):
            if self.faults.frozen and not frozen:
                self._freeze(connection)
            elif frozen and not self.faults.frozen:
                connection.heartbeat.paused = False
                connection.link.thaw()
            if fault.drop_connections:
                connection.link.abort()
            if self.faults.blocked != blocked:
                connection.send_blocked(self.faults.blocked)
            connection.resume()

    def _freeze(self, connection: Connection) -> None:
        connection.heartbeat.paused = True
        connection.link.freeze()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
