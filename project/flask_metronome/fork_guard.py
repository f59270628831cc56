"""No fork while another thread is inside an SQLite transaction.

SQLite remembers a file's locks once for each process. A child that is forked
in the middle of another thread's transaction inherits that memory, and with
it a write lock that nobody will ever release: the child's own writes fail
with «database is locked» for as long as it lives.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

#: A fork waits at most so long for the others; then it goes on all the same.
_PATIENCE_SECONDS = 5.0


class _Guard:
    """Counts the transactions of each thread; a fork waits for the others'."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._changed = threading.Condition()
        self._open: dict[int, int] = {}
        self._forking: int | None = None

    def enter(self) -> None:
        me = threading.get_ident()
        with self._changed:
            if me not in self._open and self._forking not in (None, me):
                self._changed.wait_for(lambda: self._forking is None, _PATIENCE_SECONDS)
            self._open[me] = self._open.get(me, 0) + 1

    def leave(self) -> None:
        me = threading.get_ident()
        with self._changed:
            left = self._open.get(me, 1) - 1
            if left:
                self._open[me] = left
            else:
                self._open.pop(me, None)
                self._changed.notify_all()

    def before_fork(self) -> None:
        me = threading.get_ident()
        with self._changed:
            self._forking = me
            self._changed.wait_for(
                lambda: not self._open.keys() - {me}, _PATIENCE_SECONDS
            )

    def after_fork(self) -> None:
        with self._changed:
            self._forking = None
            self._changed.notify_all()


_guard = _Guard()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_guard.before_fork,
        after_in_parent=_guard.after_fork,
        after_in_child=_guard.reset,
    )


@contextmanager
def no_fork() -> Iterator[None]:
    """While inside, other threads of this process do not fork."""
    _guard.enter()
    try:
        yield
    finally:
        _guard.leave()
