"""A PostgreSQL connection that does not wait for ever.

The server's own ``statement_timeout`` is no help when the server stands still
(a paused machine, a stalled disk): its kernel goes on acknowledging, so no
TCP timeout fires either.
"""

from __future__ import annotations

import time
from typing import Any, ClassVar

from psycopg import Connection, OperationalError

#: How much longer than the server's own deadline we wait for its answer, seconds.
MARGIN_SECONDS = 2.0


class BoundedConnection(Connection[Any]):
    """Gives a server up that does not answer in time, and says so."""

    answer_seconds: ClassVar[float] = 12.0

    def wait(
        self, gen: Any, interval: float = 0.1, timeout: float | None = None
    ) -> Any:
        """As psycopg's, with a deadline where it has none.

        :raises OperationalError: after ``answer_seconds``; the connection is
            closed, its outcome unknown.
        """
        if timeout is not None:
            return super().wait(gen, interval, timeout)
        deadline = time.monotonic() + self.answer_seconds
        try:
            return super().wait(gen, interval, self.answer_seconds)
        except OperationalError as error:
            if time.monotonic() < deadline:
                raise
            self.pgconn.finish()
            raise OperationalError(
                f"the server did not answer within {self.answer_seconds:g} s"
            ) from error


def bounded(statement_seconds: float) -> type[BoundedConnection]:
    """The connection class for a server with that ``statement_timeout``."""

    class Bounded(BoundedConnection):
        answer_seconds = statement_seconds + MARGIN_SECONDS

    return Bounded
