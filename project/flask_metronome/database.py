"""The synchronous engine: one small pool a process, every statement bounded.

Transactions that write start with the write lock on SQLite (``BEGIN
IMMEDIATE``), so that two beats on one file queue up instead of failing.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from flask_metronome.clock import Clock, DatabaseClock
from flask_metronome.column_types import read_json
from flask_metronome.errors import (
    EXTRAS,
    DatabaseUnreachable,
    NotInstalled,
    SettingInvalid,
)
from flask_metronome.fork_guard import no_fork

_SYNC_DRIVERS = {
    "postgresql": "postgresql+psycopg",
    "sqlite": "sqlite+pysqlite",
    "mysql": "mysql+pymysql",
    "mariadb": "mariadb+pymysql",
}
_ASYNC_DRIVERS = {
    "postgresql": "postgresql+psycopg",
    "sqlite": "sqlite+aiosqlite",
    "mysql": "mysql+aiomysql",
    "mariadb": "mariadb+aiomysql",
}


def sync_url(url: str) -> URL:
    """The same database for the synchronous engine."""
    return _with_driver(url, _SYNC_DRIVERS)


def async_url(url: str) -> URL:
    """The same database for the asynchronous engine."""
    return _with_driver(url, _ASYNC_DRIVERS)


def _with_driver(url: str, drivers: dict[str, str]) -> URL:
    expected = "a postgresql, mysql, mariadb or sqlite URL"
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # the latter: a port that is no number
        raise SettingInvalid("METRONOME_DATABASE_URL", expected, "…") from None
    name = parsed.get_backend_name()
    if parsed.drivername.startswith("postgres"):
        name = "postgresql"
    if name not in drivers:
        raise SettingInvalid("METRONOME_DATABASE_URL", expected, name)
    if name == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise SettingInvalid(
            "METRONOME_DATABASE_URL",
            "a file (every process must see the same database)",
            "an in-memory SQLite",
        )
    return parsed.set(drivername=drivers[name])


def is_disconnect(error: BaseException) -> bool:
    """Whether a database error means «not there now» and not «wrong»."""
    # a pool whose connections all wait for an answer times out
    if isinstance(error, (DatabaseUnreachable, PoolTimeout)):
        return True
    if not isinstance(error, DBAPIError):
        return False
    if error.connection_invalidated:
        return True
    kinds = ("OperationalError", "InterfaceError", "InternalError")
    return type(error).__name__ in kinds


class Database:
    """A fork-safe door to the SQL database.

    :param url: SQLAlchemy URL; its driver is chosen by us.
    :param timeout_seconds: deadline of connecting and of one statement.
    :param lock_seconds: how long a statement waits for another's lock.
    :param clock: who says what time it is; tests pass a settable one.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout_seconds: float = 10.0,
        lock_seconds: float = 2.0,
        pool_size: int = 4,
        clock: Clock | None = None,
    ) -> None:
        self._url = sync_url(url)
        self._timeout = timeout_seconds
        self._lock_seconds = lock_seconds
        self._pool_size = pool_size
        self._lock = threading.Lock()
        self._engine: Engine | None = None
        self._pid = 0
        self.clock = clock or DatabaseClock()

    @property
    def dialect(self) -> str:
        """``postgresql``, ``sqlite``, ``mysql`` or ``mariadb``."""
        return self._url.get_backend_name()

    @property
    def public_url(self) -> str:
        """The URL without its password, for messages."""
        return self._url.render_as_string(hide_password=True)

    @property
    def has_no_file(self) -> bool:
        """Whether it is an SQLite file that nobody has made yet, and could be."""
        named = self._url.database
        if self.dialect != "sqlite" or named in (None, "", ":memory:"):
            return False
        path = Path(str(named)).absolute()
        # not by pathlib, which raises where a folder above may not be entered
        above = next(folder for folder in path.parents if os.path.exists(folder))
        allowed = os.path.isdir(above) and os.access(above, os.W_OK | os.X_OK)
        return allowed and not os.path.exists(path)

    @property
    def engine(self) -> Engine:
        """This process's engine; a forked child gets its own."""
        if self._engine is None or self._pid != os.getpid():
            with self._lock:
                if self._engine is None or self._pid != os.getpid():
                    if self._engine is not None:
                        # the parent's sockets: forget them, do not close them
                        self._engine.dispose(close=False)
                    self._engine = self._create()
                    self._pid = os.getpid()
        return self._engine

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """A transaction that writes; commits at the end, rolls back on errors.

        :raises DatabaseUnreachable: when no connection can be had.
        """
        with self._connected() as connection:
            writing = connection.execution_options(metronome_begin="BEGIN IMMEDIATE")
            with writing.begin():
                yield writing

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection to read with; nothing is committed."""
        with self._connected() as connection:
            yield connection
            connection.rollback()

    def now(self, connection: Connection) -> datetime:
        """The deciding clock's instant."""
        return self.clock.now(connection)

    def patient(self, timeout_seconds: float) -> Database:
        """The same database for work that may take long, such as a migration.

        :param timeout_seconds: deadline of a statement, and of waiting for a lock.
        """
        return Database(
            self._url.render_as_string(hide_password=False),
            timeout_seconds=timeout_seconds,
            lock_seconds=timeout_seconds,
            pool_size=1,
            clock=self.clock,
        )

    def dispose(self) -> None:
        """Close this process's connections."""
        with self._lock:
            if self._engine is not None:
                self._engine.dispose(close=self._pid == os.getpid())
                self._engine = None

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        with no_fork() if self.dialect == "sqlite" else nullcontext():
            try:
                connection = self.engine.connect()
            except DBAPIError as error:
                cause = error.orig or error
                raise DatabaseUnreachable(self.public_url, cause) from error
            with connection:
                yield connection

    def _make_folder(self) -> None:
        try:
            Path(str(self._url.database)).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DatabaseUnreachable(self.public_url, error) from error

    def _create(self) -> Engine:
        options: dict[str, Any] = {"pool_pre_ping": True}
        name = self.dialect
        milliseconds = int(self._timeout * 1000)
        if name == "sqlite":
            self._make_folder()
            options["connect_args"] = {
                "timeout": self._timeout,
                "check_same_thread": False,
            }
            options |= {"pool_pre_ping": False, "json_deserializer": read_json}
        else:
            options |= {
                "pool_size": self._pool_size,
                "max_overflow": self._pool_size,
                "pool_timeout": self._timeout,
                "pool_recycle": 1800,
            }
        if name == "postgresql":
            # idle_in_transaction is the fence against a paused process: its
            # rows are free after 5 s and its late commit is refused
            options["connect_args"] = {
                "connect_timeout": min(60, max(2, int(self._timeout))),
                "keepalives_idle": 5,
                "keepalives_interval": 2,
                "keepalives_count": 3,
                "tcp_user_timeout": milliseconds,
                "options": f"-c statement_timeout={milliseconds} "
                f"-c lock_timeout={int(self._lock_seconds * 1000)} "
                "-c idle_in_transaction_session_timeout=5000 -c timezone=UTC",
            }
        elif name in ("mysql", "mariadb"):
            # gap locks of the default level would make two beats wait for each other
            options["isolation_level"] = "READ COMMITTED"
            whole = max(2, int(self._timeout))
            options["connect_args"] = {
                "connect_timeout": min(60, whole),
                "read_timeout": whole,
                "write_timeout": whole,
                "init_command": "SET time_zone='+00:00', "
                f"innodb_lock_wait_timeout={max(1, int(self._lock_seconds))}",
            }
        try:
            engine = create_engine(self._url, **options)
        except ModuleNotFoundError as error:
            if error.name not in EXTRAS:
                raise
            raise NotInstalled(error.name) from error
        if name == "postgresql":
            bound_waits(engine, self._timeout)
        if name == "sqlite":
            event.listen(engine, "connect", _prepare_sqlite)
            event.listen(engine, "begin", _begin_sqlite)
        return engine


def bound_waits(engine: Engine, statement_seconds: float) -> None:
    """Have the engine's connections give up a PostgreSQL that stands still."""
    # psycopg is an extra: only who uses PostgreSQL has it
    module = import_module("flask_metronome.bounded_postgres")
    connection_class = module.bounded(statement_seconds)

    def connect(_dialect: Any, _record: Any, args: Any, options: Any) -> Any:
        return connection_class.connect(*args, **options)

    event.listen(engine, "do_connect", connect)


def _prepare_sqlite(dbapi_connection: Any, _record: Any) -> None:
    """WAL and our own BEGIN: the driver must not open transactions itself."""
    dbapi_connection.isolation_level = None
    cursor = dbapi_connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    statement = connection.get_execution_options().get("metronome_begin", "BEGIN")
    connection.exec_driver_sql(statement)
