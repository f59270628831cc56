"""The shop: its database, its folder for mails and reports, its way to send mail."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Engine, create_engine, event, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session as Transaction

from flask_metronome.database import sync_url
from flask_metronome.demo.generated import shop_data
from flask_metronome.demo.models import Base, Customer


@dataclass(frozen=True, kw_only=True, slots=True)
class ShopSettings:
    """Where the shop keeps things.

    :param smtp: ``host:port`` of the mail server; None: mails become files.
    """

    folder: Path
    database_url: str
    smtp: str | None = None

    @classmethod
    def read(cls, environ: Mapping[str, str], default_folder: Path) -> ShopSettings:
        """From ``METRONOME_DEMO_DIR``, ``…_DATABASE_URL`` and ``…_SMTP``."""
        folder = Path(environ.get("METRONOME_DEMO_DIR") or default_folder)
        url = environ.get("METRONOME_DEMO_DATABASE_URL")
        return cls(
            folder=folder,
            database_url=url or f"sqlite:///{folder / 'shop.sqlite'}",
            smtp=environ.get("METRONOME_DEMO_SMTP") or None,
        )


class Shop:
    """The shop of one process; opened when first used, again after a fork."""

    def __init__(self, settings: ShopSettings) -> None:
        self.settings = settings
        self._lock = threading.Lock()
        self._engine: Engine | None = None
        self._pid = 0

    @property
    def mails(self) -> Path:
        """The folder of the mails that were received."""
        return self.settings.folder / "mails"

    @property
    def reports(self) -> Path:
        """The folder of the reports that were written."""
        return self.settings.folder / "reports"

    def begin(self) -> Transaction:
        """A transaction on the shop's database, to be used with ``with``."""
        return Transaction(self._opened())

    def close(self) -> None:
        """Close this process's connections."""
        with self._lock:
            if self._engine is not None and self._pid == os.getpid():
                self._engine.dispose()
            self._engine = None

    def _opened(self) -> Engine:
        with self._lock:
            if self._engine is None or self._pid != os.getpid():
                self._engine = _open(self.settings)
                self._pid = os.getpid()
            return self._engine


def _open(settings: ShopSettings) -> Engine:
    settings.folder.mkdir(parents=True, exist_ok=True)
    engine = create_engine(sync_url(settings.database_url))
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
    if not _is_filled(engine):
        try:
            _fill(engine)
        except DBAPIError:
            # Another process opened the new shop at the same moment.
            if not _is_filled(engine):
                raise
    return engine


def _prepare_sqlite(dbapi_connection: object, _record: object) -> None:
    cursor = dbapi_connection.cursor()  # type: ignore[attr-defined]
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA busy_timeout=10000")
    cursor.close()


def _is_filled(engine: Engine) -> bool:
    try:
        with Transaction(engine) as transaction:
            return transaction.scalar(select(Customer.id).limit(1)) is not None
    except DBAPIError:
        return False


def _fill(engine: Engine) -> None:
    Base.metadata.create_all(engine)
    with Transaction(engine) as transaction:
        for rows in shop_data(datetime.now(UTC)):
            transaction.add_all(rows)
            transaction.flush()
        transaction.commit()
