"""One event loop a process, on a thread of its own, and the engine it owns.

Flask's own bridge makes a loop per call, in which a pooled async engine
cannot live. Here every process has one loop for all its requests, started
when it is first needed and again after a fork. Nothing that blocks may run on
it: one slow coroutine would hold up all of them.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import threading
import weakref
from collections.abc import Coroutine
from typing import Any, TypeVar

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from flask_metronome.column_types import read_json
from flask_metronome.database import async_url
from flask_metronome.errors import DeadlineExceeded

Result = TypeVar("Result")

_STOP_SECONDS = 2.0
_POOL_SIZE = 8


class _Running:
    """The loop, its thread and its engine, all of one process."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.loop = asyncio.new_event_loop()
        self.engine: AsyncEngine | None = None
        self.thread = threading.Thread(
            target=self._serve, name="metronome-loop", daemon=True
        )
        self.thread.start()

    def _serve(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
        finally:
            self.loop.close()

    async def _wind_down(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self.engine is not None:
            await self.engine.dispose()

    def stop(self) -> None:
        """Cancel what runs, close the connections, end the thread."""
        if self.loop.is_closed() or not self.thread.is_alive():
            return
        future = asyncio.run_coroutine_threadsafe(self._wind_down(), self.loop)
        with contextlib.suppress(Exception):
            future.result(_STOP_SECONDS)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(_STOP_SECONDS)


class LoopThread:
    """Runs coroutines from synchronous code on this process's loop.

    :param url: SQLAlchemy URL of the database; its driver is chosen by us.
    :param timeout_seconds: deadline of one ``run`` and of one statement.
    :param pool_size: the most connections the engine holds.
    """

    def __init__(
        self, url: str, *, timeout_seconds: float = 10.0, pool_size: int = _POOL_SIZE
    ) -> None:
        self._url = async_url(url)
        self._timeout = timeout_seconds
        self._pool_size = pool_size
        self._lock = threading.Lock()
        self._running: _Running | None = None
        # a parent's loop and sockets, kept so that no finalizer closes them
        self._inherited: list[_Running] = []
        _all.add(self)

    @property
    def engine(self) -> AsyncEngine:
        """The pooled engine; to be used on the loop only. It refuses to write.

        :raises RuntimeError: when called outside the loop thread.
        """
        running = self._running
        if running is None or threading.current_thread() is not running.thread:
            raise RuntimeError("the async engine belongs to the loop thread")
        if running.engine is None:
            running.engine = self._create_engine()
        return running.engine

    def run(
        self,
        coroutine: Coroutine[Any, Any, Result],
        timeout_seconds: float | None = None,
    ) -> Result:
        """Run a coroutine on the loop and wait for its result.

        It sees the caller's context variables, so Flask's ``request``, ``g``
        and ``current_app`` too; what it changes in them stays with it.

        :raises DeadlineExceeded: after ``timeout_seconds``; it is cancelled then.
        :raises RuntimeError: when called from the loop itself, which would
            wait for itself for ever.
        """
        deadline = self._timeout if timeout_seconds is None else timeout_seconds
        running = self._started()
        if threading.current_thread() is running.thread:
            coroutine.close()
            raise RuntimeError("await the coroutine: this is the loop's own thread")
        future = asyncio.run_coroutine_threadsafe(coroutine, running.loop)
        try:
            return future.result(deadline)
        except TimeoutError:
            if future.done() and not future.cancelled():
                raise  # the coroutine's own
            future.cancel()
            raise DeadlineExceeded("The answer", deadline) from None
        except BaseException:
            future.cancel()
            raise

    def stop(self) -> None:
        """Close the engine and end the thread; the next ``run`` starts anew."""
        with self._lock:
            running, self._running = self._running, None
        if running is not None and running.pid == os.getpid():
            running.stop()

    def _started(self) -> _Running:
        running = self._running
        if running is not None and running.pid == os.getpid():
            return running
        with self._lock:
            if self._running is None or self._running.pid != os.getpid():
                if self._running is not None:
                    self._inherited.append(self._running)
                self._running = _Running()
            return self._running

    def _after_fork(self) -> None:
        # whoever held the lock in the parent does not exist in this child
        self._lock = threading.Lock()

    def _create_engine(self) -> AsyncEngine:
        name = self._url.get_backend_name()
        engine = create_async_engine(
            self._url,
            # every statement is a read of its own: no BEGIN, no ROLLBACK
            isolation_level="AUTOCOMMIT",
            pool_size=self._pool_size,
            max_overflow=0,
            pool_timeout=self._timeout,
            pool_pre_ping=name != "sqlite",
            pool_recycle=1800,
            connect_args=_connect_args(name, self._timeout),
            **({"json_deserializer": read_json} if name == "sqlite" else {}),
        )
        if name == "sqlite":
            event.listen(engine.sync_engine, "connect", _read_only)
        return engine


def _connect_args(name: str, timeout_seconds: float) -> dict[str, Any]:
    whole = max(2, int(timeout_seconds))
    if name == "sqlite":
        return {"timeout": timeout_seconds}
    if name == "postgresql":
        milliseconds = int(timeout_seconds * 1000)
        return {
            "connect_timeout": whole,
            "options": f"-c statement_timeout={milliseconds} -c timezone=UTC "
            "-c default_transaction_read_only=on",
        }
    return {"connect_timeout": whole, "init_command": "SET time_zone='+00:00'"}


def _read_only(dbapi_connection: Any, _record: Any) -> None:
    cursor = dbapi_connection.cursor()
    cursor.execute("PRAGMA query_only=ON")
    cursor.close()


_all: weakref.WeakSet[LoopThread] = weakref.WeakSet()


def _renew_locks() -> None:
    for loop_thread in list(_all):
        loop_thread._after_fork()


def _stop_all() -> None:
    for loop_thread in list(_all):
        loop_thread.stop()


os.register_at_fork(after_in_child=_renew_locks)
atexit.register(_stop_all)
