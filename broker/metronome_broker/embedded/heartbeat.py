"""Heartbeats of one connection, both ways."""

from __future__ import annotations

import asyncio

from metronome_broker.embedded.link import Link
from metronome_broker.embedded.wire import HEARTBEAT_FRAME

#: Intervals of silence after which the peer counts as dead.
SILENT_INTERVALS = 2


class Heartbeat:
    """Sends when we were silent, hangs up when the client was.

    Args:
        seconds: the negotiated interval; 0 for none.
    """

    def __init__(
        self, link: Link, loop: asyncio.AbstractEventLoop, seconds: int
    ) -> None:
        self.seconds = seconds
        self.paused = False
        self._link = link
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self._set_timer()

    def stop(self) -> None:
        """No more of it."""
        self.seconds = 0
        if self._timer is not None:
            self._timer.cancel()

    def _set_timer(self) -> None:
        if self.seconds:
            self._timer = self._loop.call_later(self.seconds / 2, self._beat)

    def _beat(self) -> None:
        now = self._loop.time()
        if self.paused:
            # Reading is stopped by a scripted fault: silence proves nothing.
            self._link.received_at = now
        elif now - self._link.received_at > self.seconds * SILENT_INTERVALS:
            self._link.abort()
            return
        elif now - self._link.sent_at >= self.seconds / 2:
            self._link.write([HEARTBEAT_FRAME])
        self._set_timer()
