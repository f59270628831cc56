"""Who is connected to the broker, and how scripted faults reach them."""

from __future__ import annotations

from metronome_broker.embedded.broker import Broker
from metronome_broker.embedded.connection import Connection
from metronome_broker.embedded.dispatch import dispatch
from metronome_broker.embedded.faults import Fault
from metronome_broker.embedded.link import Link


class Listener:
    """Takes connections to a broker and knows them.

    Attributes:
        connections: those that are there now.
    """

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.connections: set[Connection] = set()
        self._idle_since = broker.loop.time()

    @property
    def idle_seconds(self) -> float:
        """For how long nobody has been connected."""
        if self.connections:
            return 0.0
        return self.broker.loop.time() - self._idle_since

    def accept(self) -> Link:
        """The protocol of a new TCP connection, for asyncio's create_server."""
        link = Link(self.broker.loop)
        connection = Connection(
            self.broker, link, dispatch=dispatch, on_gone=self._forget
        )
        link.session = connection
        self.connections.add(connection)
        if self.broker.faults.frozen:
            connection.freeze()
        return link

    def delete_vhost(self, name: str) -> bool:
        """Forget a vhost and cut its connections; False when there is none."""
        for connection in list(self.connections):
            if connection.vhost_name == name:
                connection.link.abort()
        return self.broker.delete_vhost(name)

    def inject(self, fault: Fault) -> None:
        """Start or end scripted faults."""
        faults = self.broker.faults
        blocked = faults.blocked
        faults.apply(fault)
        for connection in list(self.connections):
            if fault.drop_connections:
                connection.link.abort()
                continue
            if faults.frozen:
                connection.freeze()
            if faults.blocked != blocked:
                connection.send_blocked(faults.blocked)
            connection.resume()

    def _forget(self, connection: Connection) -> None:
        self.connections.discard(connection)
        self._idle_since = self.broker.loop.time()
