"""A throw-away MariaDB server in a folder of the test's own."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pymysql

_START_SECONDS = 120.0
_USER, _PASSWORD, _DATABASE = "test", "test", "metronome"


def find_mariadb() -> tuple[str, str] | None:
    """The server and its installer, if both are there."""
    server = shutil.which("mariadbd", path=f"{os.environ['PATH']}:/usr/sbin")
    install = shutil.which("mariadb-install-db")
    return (server, install) if server and install else None


@contextlib.contextmanager
def running_mariadb(folder: Path) -> Iterator[str]:
    """Start a server on loopback; its SQLAlchemy URL."""
    found = find_mariadb()
    assert found is not None, "find_mariadb() first"
    server, install = found
    data, port = folder / "data", _free_port()
    # --no-defaults: the machine's own configuration is not ours to follow
    options = ["--no-defaults", f"--datadir={data}"]
    if os.getuid() == 0:
        options.append("--user=root")
    subprocess.run(
        [install, *options, "--auth-root-authentication-method=normal"],
        check=True,
        capture_output=True,
    )
    users = folder / "users.sql"
    users.write_text(
        f"CREATE DATABASE {_DATABASE};\n"
        f"CREATE USER '{_USER}'@'127.0.0.1' IDENTIFIED BY '{_PASSWORD}';\n"
        f"GRANT ALL ON *.* TO '{_USER}'@'127.0.0.1';\n"
    )
    with (folder / "mariadb.log").open("wb") as log:
        process = subprocess.Popen(
            [
                server,
                *options,
                f"--port={port}",
                "--bind-address=127.0.0.1",
                "--skip-name-resolve",
                f"--socket={folder / 'm.sock'}",
                f"--pid-file={folder / 'm.pid'}",
                f"--init-file={users}",
                "--innodb-flush-log-at-trx-commit=0",
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait_until_ready(port, process)
        yield f"mysql://{_USER}:{_PASSWORD}@127.0.0.1:{port}/{_DATABASE}"
    finally:
        process.terminate()
        process.wait(60)


def _wait_until_ready(port: int, process: subprocess.Popen[bytes]) -> None:
    give_up = time.monotonic() + _START_SECONDS
    while True:
        with contextlib.suppress(pymysql.err.OperationalError):
            pymysql.connect(
                host="127.0.0.1",
                port=port,
                user=_USER,
                password=_PASSWORD,
                database=_DATABASE,
                connect_timeout=2,
            ).close()
            return
        assert process.poll() is None, "mariadbd ended at once"
        assert time.monotonic() < give_up, "mariadbd did not become ready"
        time.sleep(0.1)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
